//! The architecture's arrows: each module imports only what it may.

use std::path::Path;

use super::sandbox::repository;

const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("runbook", &[]),
    ("run", &["runbook"]),
    ("message", &["runbook", "run"]),
    ("drive", &["runbook", "run", "message"]),
    ("rehearsal", &["runbook", "run", "message"]),
    ("report", &["runbook", "run", "message", "drive", "rehearsal"]),
    ("journal", &["runbook", "run", "file"]),
    ("effect", &["runbook", "file"]),
    ("engine", &["runbook", "run", "message", "drive", "journal", "effect", "file"]),
    (
        "operate",
        &["runbook", "run", "message", "drive", "journal", "effect", "engine", "rehearsal", "file"],
    ),
    (
        "certify",
        &[
            "runbook",
            "run",
            "message",
            "drive",
            "journal",
            "effect",
            "engine",
            "rehearsal",
            "operate",
            "file",
        ],
    ),
    (
        "cli",
        &[
            "runbook",
            "run",
            "message",
            "drive",
            "journal",
            "effect",
            "engine",
            "rehearsal",
            "operate",
            "certify",
            "report",
            "file",
        ],
    ),
];

#[test]
fn modules_import_only_what_they_may() {
    let mut wrong = Vec::new();
    let pattern = regex::Regex::new(r"\bcrate::([a-z_]+)").unwrap();
    for (module, allowed) in MAY_IMPORT {
        for file in files(&repository().join("src").join(module)) {
            let text = std::fs::read_to_string(&file).unwrap();
            for found in pattern.captures_iter(&text) {
                let imported = &found[1];
                if imported != *module && !allowed.contains(&imported) {
                    wrong.push(format!("{} imports {imported}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_has_its_rule_and_says_what_it_is() {
    for entry in std::fs::read_dir(repository().join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name.ends_with(".rs") || MAY_IMPORT.iter().any(|(module, _)| *module == name),
            "{name} has no rule"
        );
    }
    for file in files(&repository().join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not say what it is", file.display());
    }
}

#[test]
fn pure_modules_touch_no_file_clock_or_process() {
    for module in ["runbook", "run", "message", "drive", "rehearsal"] {
        for file in files(&repository().join("src").join(module)) {
            let text = std::fs::read_to_string(&file).unwrap();
            for word in [
                "std::fs",
                "std::net",
                "std::process",
                "Utc::now",
                "Instant::now",
                "SystemTime",
                "tokio",
                "async ",
            ] {
                assert!(!text.contains(word), "{} uses {word}", file.display());
            }
        }
    }
}

/// Whoever calls a use case shows what came of it, and ends as it likes.
#[test]
fn use_cases_print_nothing_and_know_no_command_line() {
    let words = [
        "clap",
        "console",
        "indicatif",
        "miette",
        "print!(",
        "println!(",
        "stdout()",
        "stderr()",
        "stdin()",
        "process::exit",
        "exit_code",
    ];
    assert_absent(&["operate", "certify"], &words);
}

/// What changes a run goes through a use case, and so through the gate.
#[test]
fn the_command_line_opens_journals_only_to_read() {
    let words = ["Journal::open(", "engine::carry_out", "engine::go_on", ".append(&mut"];
    assert_absent(&["cli"], &words);
}

fn assert_absent(modules: &[&str], words: &[&str]) {
    for module in modules {
        for file in files(&repository().join("src").join(module)) {
            let text = std::fs::read_to_string(&file).unwrap();
            for word in words {
                assert!(!text.contains(word), "{} uses {word}", file.display());
            }
        }
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}
