//! What ships: every runbook is checked, the quickstart really runs, dies, goes on and goes back,
//! every example in the docs runs.

use std::process::Command;

use super::http::{Nginx, nginx};
use super::sandbox::{Sandbox, kill_all, repository};

#[test]
fn every_shipped_runbook_has_no_problems_and_fits_the_schema() {
    let schema = jsonschema::validator_for(&switchover::runbook::schema()).unwrap();
    let mut count = 0;
    let mut folders = vec![repository().join("runbooks")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|ending| ending != "yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            if !text.lines().any(|line| line.starts_with("runbook:")) {
                continue; // what a runbook applies, such as a policy
            }
            // Packs and phases are parts: what begins in one may end in another. They are checked
            // with the whole.
            let is_part = path.starts_with(repository().join("runbooks/packs"))
                || path.parent().is_some_and(|folder| folder.ends_with("phases"));
            if !is_part {
                let output = Command::new(env!("CARGO_BIN_EXE_switchover"))
                    .arg("check")
                    .arg(&path)
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            let json: serde_json::Value = serde_yaml::from_str(&text).unwrap();
            let errors: Vec<String> = schema
                .iter_errors(&json)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn the_example_of_the_packs_fits_them() {
    let sandbox = Sandbox::new();
    let packs = std::fs::read_to_string(repository().join("docs/packs.md")).unwrap();
    let example = packs
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("an example");
    sandbox.write("runbooks/book.yaml", example);
    for entry in std::fs::read_dir(repository().join("runbooks/packs/postgres")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // Every parameter stands in the table.
        let book: serde_json::Value =
            serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for parameter in book["parameters"].as_object().unwrap().keys() {
            assert!(
                packs.contains(&format!("`{parameter}`")) || parameter.starts_with("new_"),
                "{name}: {parameter}"
            );
        }
        sandbox.write(&format!("runbooks/packs/postgres/{name}"), std::fs::read(&path).unwrap());
    }
    let shown = sandbox.run("check runbooks/book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
}

#[test]
fn the_schema_beside_the_runbooks_is_the_one_that_is_printed() {
    let stored: serde_json::Value = serde_json::from_str(
        &std::fs::read_to_string(repository().join("runbooks/runbook.schema.json")).unwrap(),
    )
    .unwrap();
    assert!(
        stored == switchover::runbook::schema(),
        "print it anew: switchover schema > runbooks/runbook.schema.json"
    );
}

#[test]
fn the_quickstart_runs_is_killed_goes_on_and_goes_back() {
    let sandbox = Sandbox::new();
    let book = repository().join("runbooks/quickstart.yaml");
    let child = sandbox.start(&format!("run {} --set orders=2000", book.display()));
    let begun = std::time::Instant::now();
    while !sandbox.path("journal/quickstart/new/receipts/5.txt").exists() {
        assert!(begun.elapsed().as_secs() < 60, "{}", sandbox.run("status"));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    kill_all(child);
    let shown = sandbox.run("resume");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert!(
        sandbox
            .read("journal/quickstart/dns/shop.example.test.zone")
            .contains("@    60 IN A 192.0.2.20")
    );
    let logs = sandbox.run("logs copy-receipts");
    assert!(
        logs.contains("beginning after receipt 0")
            && !logs.ends_with("beginning after receipt 0\nexit 0"),
        "the second attempt began at the cursor: {logs}"
    );
    assert!(sandbox.run("rollback").ends_with("exit 4"));
    assert!(!sandbox.path("journal/quickstart").exists(), "nothing is left of it");
    assert!(sandbox.run("audit --verify").ends_with("exit 0"));
}

#[test]
fn the_quickstart_is_gone_through_without_changing_anything() {
    let sandbox = Sandbox::new();
    let shown = sandbox
        .run(&format!("run {} --dry-run", repository().join("runbooks/quickstart.yaml").display()));
    assert!(shown.ends_with("exit 0") && shown.contains("nothing would be refused"), "{shown}");
    assert!(!sandbox.path("journal/quickstart").exists());
}

#[test]
fn the_example_of_dry_runs_is_one() {
    let page = std::fs::read_to_string(repository().join("docs/dry-run.md")).unwrap();
    let sandbox = Sandbox::with(
        page.split("```yaml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .expect("an example"),
    );
    let shown = sandbox.run("run book.yaml --dry-run");
    assert!(shown.contains("Plan: 3 to add") && shown.ends_with("exit 0"), "{shown}");
    assert_eq!(sandbox.code("run book.yaml"), 0);
}

#[test]
fn every_example_in_the_reference_runs_and_goes_back() {
    let reference = std::fs::read_to_string(repository().join("docs/runbook.md")).unwrap();
    let mut count = 0;
    for block in reference.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap())
    {
        let sandbox = Sandbox::with(block);
        let (_nginx, port) = surroundings(&sandbox);
        assert!(
            sandbox.run("check book.yaml").ends_with("exit 0"),
            "{block}\n{}",
            sandbox.run("check book.yaml")
        );
        let api = if block.contains("{ api:") {
            format!(" --set api=http://127.0.0.1:{port}")
        } else {
            String::new()
        };
        let mut shown = sandbox.run(&format!("run book.yaml{api}"));
        for answer in [
            "resolve call --as done --set ticket=7 --reason said",
            "resolve gate --as go --reason said",
        ] {
            if shown.ends_with("exit 3") {
                assert_eq!(sandbox.code(answer), 0, "{block}\n{shown}");
                shown = sandbox.run("resume");
            }
        }
        assert!(shown.ends_with("exit 0"), "{block}\n{shown}");
        let shown = sandbox.run("rollback");
        assert!(shown.ends_with("exit 4"), "{block}\n{shown}");
        count += 1;
    }
    assert!(count >= 10, "the reference has {count} examples");
}

/// What the examples take for granted: two databases, a file with a lag, another runbook, and a
/// server.
fn surroundings(sandbox: &Sandbox) -> (Nginx, u16) {
    for (name, rows) in [("old.db", 100), ("new.db", 0)] {
        let database = rusqlite::Connection::open(sandbox.path(name)).unwrap();
        database.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)").unwrap();
        for id in 0..rows {
            database.execute("INSERT INTO t VALUES (?)", [id]).unwrap();
        }
    }
    sandbox.write("lag", "3\n");
    sandbox.write("inner.yaml", "runbook: inner
parameters: { database: { type: string } }
phases: { inside: { steps: { make: { run: [echo, \"{{ database }}\"], capture: { rows: stdout }, undo: none } } } }
");
    let (nginx, port, _) = nginx(sandbox);
    (nginx, port)
}

#[test]
fn the_reference_mentions_every_key() {
    let reference = std::fs::read_to_string(repository().join("docs/runbook.md")).unwrap();
    let mut missing = Vec::new();
    keys(&switchover::runbook::schema(), &mut |key| {
        if !reference.contains(&format!("`{key}`")) {
            missing.push(key.to_owned());
        }
    });
    missing.sort();
    missing.dedup();
    assert!(missing.is_empty(), "the reference does not mention {missing:?}");
}

fn keys(schema: &serde_json::Value, seen: &mut impl FnMut(&str)) {
    match schema {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                if name == "properties" {
                    value.as_object().unwrap().keys().for_each(|key| seen(key));
                }
                keys(value, seen);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys(item, seen)),
        _ => {}
    }
}

#[test]
fn the_documents_for_programs_are_as_documented() {
    let sandbox = Sandbox::with(
        "runbook: one\nphases:\n  p:\n    steps:\n      s: { run: echo hello, undo: none }\n",
    );
    sandbox.write("bad.yaml", "runbook: bad\nphase: 1\n");
    assert_eq!(sandbox.code("run book.yaml"), 0);
    let docs = std::fs::read_to_string(repository().join("docs/json.md")).unwrap();
    for (verb, line) in [
        ("check", "check --format json bad.yaml book.yaml"),
        ("plan", "plan --format json book.yaml"),
        ("certify", "certify --every 9 --format json book.yaml"),
        ("list", "list --format json"),
        ("status", "status --format json"),
        ("logs", "logs s --format json"),
        ("audit", "audit --format json"),
    ] {
        let section =
            docs.split(&format!("\n## {verb}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        let mut documented: Vec<&str> =
            cells.flat_map(|cell| cell.trim_end_matches('`').split("`, `")).collect();
        let printed = sandbox.json(line);
        let entry = printed.get(0).unwrap_or(&printed);
        let mut keys: Vec<&str> = entry.as_object().unwrap().keys().map(String::as_str).collect();
        documented.sort();
        keys.sort();
        assert_eq!(documented, keys, "{verb}");
    }
}
