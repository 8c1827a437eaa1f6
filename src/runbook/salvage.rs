//! Takes the broken parts out of a file, so that the rest of it is still checked in the same go.
//! What it puts in their place never runs: a file with a broken part is refused in any case.

use serde_yaml::{Mapping, Value as Yaml};

use super::action::WORDS;

/// Removes what stands at these paths, or what it belongs to: a key of a step, a whole action, a
/// phase's key, a top-level key.
pub fn salvage(value: &mut Yaml, broken: &[Vec<String>]) {
    for path in broken {
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        match keys.as_slice() {
            ["phases", phase, "steps", step, rest @ ..] => {
                let Some(step) = map_at(value, &["phases", phase, "steps"])
                    .and_then(|steps| steps.get_mut(*step))
                else {
                    continue;
                };
                match (step.as_mapping_mut(), rest.first()) {
                    (Some(step), Some(key)) if !WORDS.contains(key) => drop(step.remove(*key)),
                    (Some(step), _) => {
                        step.retain(|key, _| key.as_str().is_none_or(|key| !WORDS.contains(&key)));
                        step.extend(stand_in());
                    }
                    (None, _) => *step = Yaml::Mapping(stand_in()),
                }
            }
            ["phases", phase, key, ..] if *key != "steps" => {
                if let Some(phase) = map_at(value, &["phases", phase]) {
                    phase.remove(*key);
                }
            }
            ["parameters", name, rest @ ..] => {
                // Its name stays known, so that those who use it are not blamed.
                let Some(parameter) =
                    map_at(value, &["parameters"]).and_then(|all| all.get_mut(*name))
                else {
                    continue;
                };
                match (parameter.as_mapping_mut(), rest.first()) {
                    (Some(parameter), Some(key)) if *key != "type" => drop(parameter.remove(*key)),
                    _ => {
                        *parameter = Yaml::Mapping(Mapping::from_iter([
                            ("type".into(), "string".into()),
                            ("default".into(), "".into()),
                        ]))
                    }
                }
            }
            [
                "environments" | "secrets" | "databases" | "traffic" | "zones" | "guards"
                | "budgets",
                name,
                ..,
            ] => {
                if let Some(all) = map_at(value, &[keys[0]]) {
                    all.remove(*name);
                }
            }
            [key, ..] if *key != "phases" => {
                if let Some(all) = value.as_mapping_mut() {
                    all.remove(*key);
                }
            }
            _ => {}
        }
    }
}

/// An action that fits wherever one is wanted, and whose outputs nobody knows beforehand.
fn stand_in() -> Mapping {
    Mapping::from_iter([("run".into(), Yaml::Sequence(vec!["true".into()]))])
}

fn map_at<'a>(value: &'a mut Yaml, path: &[&str]) -> Option<&'a mut Mapping> {
    path.iter()
        .try_fold(value, |value, key| value.as_mapping_mut()?.get_mut(*key))
        .and_then(Yaml::as_mapping_mut)
}
