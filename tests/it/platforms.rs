//! Every shipped runbook, rehearsed with everything that can go wrong in every environment that it
//! has. README's table is made of that.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::Value as Json;
use switchover::runbook::Span;

use super::sandbox::repository;

/// The platforms of README's table: its name there, and the runbook.
const PLATFORMS: &[(&str, &str)] = &[
    ("Lattice", "runbooks/lattice/lattice.yaml"),
    ("Arbor and Kumori, a release", "runbooks/arbor-kumori/deploy.yaml"),
    ("Arbor and Kumori, a failover", "runbooks/arbor-kumori/failover.yaml"),
    ("Aurigraph", "runbooks/aurigraph/aurigraph.yaml"),
    ("Bitcoin Prediction", "runbooks/bitcoin-prediction/bitcoin-prediction.yaml"),
    ("AddToCloud", "runbooks/addtocloud/addtocloud.yaml"),
];

#[test]
fn lattice() {
    every_failure_of(|book| book.starts_with("runbooks/lattice"));
}

#[test]
fn arbor_and_kumori() {
    every_failure_of(|book| book.starts_with("runbooks/arbor-kumori"));
}

#[test]
fn aurigraph() {
    every_failure_of(|book| book.starts_with("runbooks/aurigraph"));
}

#[test]
fn bitcoin_prediction() {
    every_failure_of(|book| book.starts_with("runbooks/bitcoin-prediction"));
}

#[test]
fn addtocloud() {
    every_failure_of(|book| book.starts_with("runbooks/addtocloud"));
}

#[test]
fn all_others() {
    let folders = PLATFORMS.iter().filter_map(|(_, book)| Path::new(book).parent());
    let folders: Vec<&Path> = folders.collect();
    every_failure_of(|book| !folders.iter().any(|folder| book.starts_with(folder)));
}

/// Whatever fails, the run comes to an end that somebody can work with: done, back in time, or with
/// a question. Only a failed undo leaves something behind.
fn every_failure_of(is_one: impl Fn(&Path) -> bool) {
    let books: Vec<PathBuf> = books().into_iter().filter(|book| is_one(book)).collect();
    assert!(!books.is_empty());
    let mut wrong = Vec::new();
    for book in books {
        for environment in environments(&book) {
            let found = rehearsed(&book, environment.as_deref());
            let place = format!(
                "{} in {}",
                book.display(),
                environment.as_deref().unwrap_or("no environment")
            );
            assert_eq!(found["smooth"]["ends"], "finished", "{place}");
            for case in found["cases"].as_array().unwrap() {
                let mishap = &case["mishap"];
                let is_fine = match case["ends"].as_str() {
                    Some("finished" | "rolled_back") => true,
                    Some("waits") => mishap["mishap"] == "unanswered",
                    _ => matches!(
                        mishap["mishap"].as_str(),
                        Some(
                            "undo_fails" | "undo_times_out" | "release_fails" | "release_times_out"
                        )
                    ),
                };
                if !is_fine {
                    wrong.push(format!(
                        "{place}: {mishap} ends {}, {} stays",
                        case["ends"], case["stays"]
                    ));
                }
                // What is stuck takes as long as a person takes.
                if case["ends"] == "rolled_back"
                    && case["over"].as_array().unwrap().iter().any(|budget| budget == "rollback")
                {
                    wrong.push(format!(
                        "{place}: after {mishap} the way back takes {} ms",
                        case["back_ms"]
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_in_the_readme_is_what_the_rehearsals_say() {
    let titles = "in production | steps | failures tried | done in the end | taken back | waits \
        for an answer | stuck: an undo or a release fails | a person decides | the longest way \
        back";
    let mut table = format!("| {titles} |\n|{}\n", "---|".repeat(titles.split('|').count()));
    for (name, book) in PLATFORMS {
        table.push_str(&row(name, Path::new(book)));
    }
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    assert!(readme.contains(&table), "README's table of the platforms is to be:\n\n{table}");
}

fn row(name: &str, book: &Path) -> String {
    let found = rehearsed(book, Some("production"));
    let cases = found["cases"].as_array().unwrap();
    let ends = |how: &str| cases.iter().filter(|case| case["ends"] == how).count();
    let steps: HashSet<&str> = found["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|mark| mark["event"] == "step_started")
        .filter_map(|mark| mark["step"].as_str())
        .collect();
    let decided = cases.iter().filter(|case| !case["asked"].as_array().unwrap().is_empty()).count();
    let back = cases
        .iter()
        .filter(|case| case["ends"] == "rolled_back")
        .filter_map(|case| case["back_ms"].as_u64())
        .max()
        .unwrap_or_default();
    let budget = &parsed(book)["budgets"]["rollback"];
    let budget = budget["limit"]
        .as_str()
        .or(budget.as_str())
        .map(|limit| format!(" of {limit}"))
        .unwrap_or_default();
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {decided} | {}{budget} |\n",
        steps.len(),
        cases.len(),
        ends("finished"),
        ends("rolled_back"),
        ends("waits"),
        ends("stuck"),
        Span::from_millis(back)
    )
}

/// The runbooks that can be run by themselves.
fn books() -> Vec<PathBuf> {
    let (mut books, mut folders) = (Vec::new(), vec![repository().join("runbooks")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("phases") && !path.ends_with("packs") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|ending| ending == "yaml") {
                let is_one = std::fs::read_to_string(&path)
                    .unwrap()
                    .lines()
                    .any(|line| line.starts_with("runbook:"));
                books.extend(is_one.then(|| path.strip_prefix(repository()).unwrap().to_owned()));
            }
        }
    }
    books.sort();
    books
}

fn environments(book: &Path) -> Vec<Option<String>> {
    match parsed(book)["environments"].as_object() {
        Some(environments) => environments.keys().map(|name| Some(name.clone())).collect(),
        None => vec![None],
    }
}

fn parsed(book: &Path) -> Json {
    serde_yaml::from_str(&std::fs::read_to_string(repository().join(book)).unwrap()).unwrap()
}

/// What a rehearsal finds, tried once for all tests here.
fn rehearsed(book: &Path, environment: Option<&str>) -> Arc<Json> {
    type Found = HashMap<(PathBuf, Option<String>), Arc<OnceLock<Arc<Json>>>>;
    static FOUND: Mutex<Option<Found>> = Mutex::new(None);
    let key = (book.to_owned(), environment.map(str::to_owned));
    let one = Arc::clone(
        FOUND
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_default()
            .entry(key)
            .or_default(),
    );
    let try_it = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchover"));
        command
            .args(["rehearse", "--runs", "20", "--format", "json"])
            .arg(book)
            .current_dir(repository());
        command.args(environment.map(|environment| ["--env", environment]).into_iter().flatten());
        // No history of earlier runs.
        let journal = tempfile::tempdir().unwrap();
        let output = command.env("SWITCHOVER_JOURNAL", journal.path()).output().unwrap();
        Arc::new(serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "{} {environment:?}: {error}: {}",
                book.display(),
                String::from_utf8_lossy(&output.stderr)
            )
        }))
    };
    Arc::clone(one.get_or_init(try_it))
}
