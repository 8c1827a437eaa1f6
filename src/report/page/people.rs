//! What people are asked in the run in which nothing goes wrong, in order, in the words that they
//! will see; and until when a go is safe.

use indexmap::IndexMap;
use serde::Serialize;

use super::fold::{base, folded};
use super::words::clock;
use crate::rehearsal::Rehearsal;
use crate::run::Fact;
use crate::runbook::{Action, Direction};

#[derive(Debug, Serialize)]
pub struct People {
    asked: Vec<Asked>,
    /// Whether it is known of any go until when it is safe.
    has_latest: bool,
    has_gates: bool,
}

#[derive(Debug, Serialize)]
struct Asked {
    at: String,
    sign: &'static str,
    step: String,
    role: String,
    words: String,
    latest: String,
    class: &'static str,
}

pub fn people(found: &Rehearsal) -> People {
    let runbook = &found.lived.state.runbook;
    let began = found.lived.state.began;
    // Copies that ask the same are one.
    let mut all: IndexMap<(String, String), (Vec<&str>, Asked)> = IndexMap::new();
    for event in &found.lived.events {
        let Fact::StepStarted(started) = &event.fact else { continue };
        let (sign, words) = match started.action.as_ref() {
            Action::Approve(approve) => ("◆", &approve.question),
            Action::Task(task) => ("●", &task.instructions),
            _ => continue,
        };
        if started.direction != Direction::Forward {
            continue;
        }
        let (latest, class) = latest(found, &started.step);
        let role = runbook.find(&started.step).and_then(|ix| runbook.step(ix).role.clone());
        let (ids, _) = all.entry((base(&started.step), words.clone())).or_insert_with(|| {
            let at = clock(event.at.since(began).as_millis());
            let words = words.trim().to_owned();
            (
                Vec::new(),
                Asked {
                    at,
                    sign,
                    step: String::new(),
                    role: role.unwrap_or_default(),
                    words,
                    latest,
                    class,
                },
            )
        });
        ids.push(&started.step);
    }
    let gates = &found.forecast.gates;
    People {
        asked: all
            .into_values()
            .map(|(ids, asked)| Asked { step: folded(ids).join(", "), ..asked })
            .collect(),
        has_latest: gates.iter().any(|gate| gate.latest_ms.is_some()),
        has_gates: !gates.is_empty(),
    }
}

/// Of copies the first one's, which is asked first.
fn latest(found: &Rehearsal, step: &str) -> (String, &'static str) {
    let Some(gate) = found.forecast.gates.iter().find(|gate| gate.step == step) else {
        return (String::new(), "");
    };
    match gate.latest_ms {
        None => ("–".to_owned(), ""),
        Some(latest) if latest < 0 => ("too late from the first".to_owned(), "bad"),
        Some(latest) => (
            clock(latest.unsigned_abs()),
            if latest < gate.asked_ms as i64 { "bad" } else { "good" },
        ),
    }
}
