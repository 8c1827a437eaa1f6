//! Text of others is shown and never obeyed, and makes no line that could be taken for one of ours:
//! in every output, whatever field it came in by.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use crate::sandbox::Sandbox;

/// Lines in the shapes of ours.
const FORGED: [&str; 9] = [
    "12:00:00 done     p/FORGED after 1s: ok",
    "     9  2026-01-01 00:00:00.000 UTC  FORGED",
    "finished: run FORGED, 3 steps in 1s",
    "  next       FORGED",
    "  step       FORGED",
    "── FORGED, forward attempt 1, output",
    "7k2    2026-01-01 00:00  finished     FORGED",
    "error: FORGED",
    "whole: FORGED",
];

/// A text that is told by its name, at both ends: with what a terminal obeys, and each such line
/// behind each end of a line there is.
fn hostile(name: &str) -> String {
    let ends = ["\n", "\r", "\r\n", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}", "\n\t"];
    let lines: String = ends.iter().zip(FORGED).map(|(end, line)| format!("{end}{line}")).collect();
    let obeyed = "\u{1b}[2J\u{1b}]0;t\u{7}\u{1b}]52;c;eA==\u{7}\u{8}\u{7f}\u{9b}31m\u{202e}\u{2066}\
        \u{61c}\u{200b}\u{feff}\u{e0041}";
    format!("<{name}>{obeyed}{lines}\n{}\n<{name}>", FORGED.join("\n"))
}

/// A text as YAML, which allows no such character as it is.
fn quoted(text: &str) -> String {
    let plain = |c: char| c == ' ' || c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    let escaped =
        |c: char| if plain(c) { c.to_string() } else { format!("\\U{:08x}", u32::from(c)) };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

/// What nobody sees, or a screen obeys.
fn is_obeyed(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
        || matches!(
            c,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'
                ..='\u{202e}'
        )
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Nothing in it is obeyed or forged, and the texts of these names are there.
fn assert_shown(what: &str, text: &str, names: &[&str]) {
    assert!(!text.contains(is_obeyed), "{what} is obeyed: {text:?}");
    for line in text.lines() {
        let is_forged =
            FORGED.iter().any(|forged| line.trim_start().starts_with(forged.trim_start()));
        assert!(!is_forged, "{what} has the line {line:?}:\n{text}");
    }
    for name in names {
        assert!(text.contains(&format!("<{name}>")), "{what} does not show {name}:\n{text}");
    }
}

/// The same program over and over, by an operator with such a name.
struct Desk {
    sandbox: Sandbox,
    operator: String,
}

impl Desk {
    fn new(book: &str) -> Desk {
        Desk { sandbox: Sandbox::with(book), operator: hostile("operator") }
    }

    fn says(&self, arguments: &[&str], code: i32, names: &[&str]) -> String {
        let (text, found) =
            self.sandbox.prints(arguments, &[("SWITCHOVER_OPERATOR", &self.operator)]);
        assert_eq!(found, code, "{arguments:?}: {text}");
        assert_shown(&format!("{arguments:?}"), &text, names);
        text
    }
}

/// A server that answers everybody with such a text, in one line.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, body) = (stream.unwrap(), hostile("answer").replace('\n', "\r"));
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 500 No\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ =
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    address
}

fn condition() -> String {
    quoted(&format!("steps.a.got != '''{}'''", hostile("condition")))
}

/// A runbook with such a text in each field that has one; `b` ends as `exit` says.
fn book(address: &str, exit: i32) -> String {
    let text = |name: &str| quoted(&hostile(name));
    let [title, owner, about, role, hint] = ["title", "owner", "about", "role", "hint"].map(text);
    let [phase, step, value, wrote, question] =
        ["phase", "step", "value", "wrote", "question"].map(text);
    let [task, field, subject, body, to, item] =
        ["task", "field", "subject", "body", "to", "item"].map(text);
    let condition = condition();
    format!(
        r#"runbook: hostile
title: {title}
owner: {owner}
description: {about}
parameters: {{ value: {{ default: {value}, description: {about} }} }}
phases:
  p:
    title: {phase}
    steps:
      a:
        title: {step}
        description: {about}
        role: {role}
        run: [sh, -c, 'printf %s "$V"; printf %s "$V" >&2; (printf %s "$V" | tr "\n" "\r"; echo) > "$SWITCHOVER_PROGRESS"; sleep 0.2', {wrote}]
        env: {{ V: "{{{{ value }}}}" }}
        capture: {{ got: stdout }}
        hints: [{hint}]
        undo: {{ run: [sh, -c, 'printf %s "$V" | tr "\n" "\r" >&2; exit 1', {wrote}] }}
      each: {{ for_each: [{item}], run: [printf, '%s', "{{{{ item }}}}"], when: {condition}, undo: none, needs: [a] }}
      ask: {{ http: {{ url: "http://{address}/" }}, on_failure: continue, needs: [a] }}
      tell: {{ notify: {{ subject: {subject}, body: {body}, to: [{to}] }}, needs: [a] }}
      b:
        title: "{{{{ value }}}}"
        run: 'printf %s "$V"; printf %s "$V" >&2; exit {exit}'
        env: {{ V: "{{{{ value }}}}" }}
        probe: {{ run: [printf, '%s', "{{{{ value }}}}"], done: stdout == "1", not_done: stdout == "2" }}
        hints: [{hint}]
        undo: none
        needs: [each, ask, tell]
      c: {{ task: {{ instructions: {task}, fields: {{ ticket: {{ type: string, description: {field}, required: true }} }} }}, role: {role}, undo: none }}
      d: {{ approve: {{ question: {question} }}, role: {role} }}
"#
    )
}

#[test]
fn no_text_of_others_is_obeyed_or_makes_a_line_of_ours() {
    let address = server();
    let desk = Desk::new(&book(&address, 1));
    let [reason, name] = ["reason", "name"].map(hostile);
    let (reason, name) = (&*reason, &*name);

    desk.says(&["check", "book.yaml"], 0, &[]);
    desk.says(&["plan", "book.yaml"], 0, &["title", "owner", "value", "step", "role"]);
    for format in ["json", "mermaid", "dot"] {
        desk.says(&["plan", "book.yaml", "--format", format], 0, &[]);
    }
    desk.says(
        &["rehearse", "book.yaml", "--runs", "1", "--all", "--html", "page.html"],
        0,
        &["condition"],
    );
    let page = desk.sandbox.read("page.html");
    assert!(
        !page.contains(is_obeyed) && page.contains("&lt;role&gt;") && page.contains("&lt;step&gt;"),
        "{page:?}"
    );
    desk.says(&["run", "book.yaml", "--dry-run"], 0, &["operator", "subject"]);

    desk.says(
        &["run", "book.yaml", "--name", name],
        1,
        &["operator", "value", "hint", "answer", "subject"],
    );
    desk.says(&["list"], 0, &["name", "operator"]);
    desk.says(&["status"], 0, &["name", "operator"]);
    desk.says(&["logs", "a"], 0, &["value"]);
    for verb in ["plan book.yaml", "list", "status", "audit", "logs b"] {
        let words: Vec<&str> = verb.split(' ').chain(["--format", "json"]).collect();
        let json = desk.says(&words, 0, &[]);
        serde_json::from_str::<serde_json::Value>(&json)
            .unwrap_or_else(|error| panic!("{verb}: {error}: {json}"));
    }
    desk.says(&["skip", "b", "--reason", reason], 0, &[]);
    desk.says(&["resume"], 3, &["task", "operator"]);
    let field = format!("ticket={}", hostile("ticket"));
    desk.says(&["resolve", "c", "--as", "done", "--set", &field, "--reason", reason], 0, &[]);
    desk.says(&["resume", "--format", "json"], 3, &[]);
    desk.says(&["resume"], 3, &["question"]);
    desk.says(&["status"], 0, &[]);
    let run = desk.sandbox.json("list --format json")[0]["run"].as_str().unwrap().to_owned();
    desk.sandbox.write("book.yaml", book(&address, 1).replace("sleep 0.2", "sleep 0.1"));
    desk.says(&["amend", &run, "book.yaml", "--reason", reason], 6, &[]);
    let added =
        format!("      e: {{ run: [/bin/true, {}], undo: none }}\n", quoted(&hostile("added")));
    desk.sandbox.write("book.yaml", book(&address, 1) + &added);
    desk.says(&["amend", &run, "book.yaml", "--reason", reason], 0, &[]);
    desk.says(&["resolve", "d", "--as", "no-go", "--reason", reason], 0, &[]);
    desk.says(&["status"], 0, &["name", "operator"]);
    desk.says(&["rollback", "--reason", reason], 5, &["reason", "value"]);
    desk.says(&["audit"], 0, &["reason", "operator", "name", "value", "answer", "subject"]);
    let letters: Vec<_> = std::fs::read_dir(desk.sandbox.path("journal/outbox"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!letters.is_empty());
    for letter in letters {
        let text = std::fs::read_to_string(letter).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap();
        assert_shown("a letter", head, &["subject", "to"]);
        assert!(!body.contains(is_obeyed), "{body:?}");
    }
}

#[test]
fn what_is_refused_is_shown_and_not_obeyed() {
    let desk = Desk::new(
        "runbook: fine\nphases: { p: { steps: { a: { run: [/bin/true], undo: none } } } }\n",
    );
    let word = &*hostile("word");
    let file = "bad\u{1b}[2J\u{202e}\nfinished: run FORGED, 3 steps in 1s\n.yaml";
    let key = quoted(word);
    desk.sandbox.write(
        file,
        format!(
            "runbook: bad
{key}: 1
phases: {{ p: {{ steps: {{ a: {{ {key}: 1, wait: {key} }} }} }} }}
"
        ),
    );
    desk.says(&["check", file], 2, &["word"]);
    desk.says(&["check", word], 2, &[]);
    // As they are, in a text that YAML does not take.
    desk.sandbox.write("raw.yaml", format!("runbook: bad\nphases: [ {word}\n"));
    desk.says(&["check", "raw.yaml"], 2, &[]);
    for arguments in [
        &["plan", "book.yaml", "--set", &format!("{word}=1")][..],
        &["plan", "book.yaml", "--env", word],
        &[word],
        &["run", "book.yaml", "--parallel", word],
        &["plan", "book.yaml", "--format", word],
        &["audit", "--zone", word],
    ] {
        desk.says(arguments, 2, &["word"]);
    }
    desk.says(&["run", "book.yaml"], 0, &["operator"]);
    for arguments in
        [&["logs", word][..], &["skip", word, "--reason", "x"], &["rollback", "--to", word]]
    {
        desk.says(arguments, 2, &["word"]);
    }
    desk.says(&["audit", word], 6, &["word"]);
    desk.says(&["run", "book.yaml", &format!("--{word}")], 2, &[]);
    desk.says(&["run", "book.yaml", "--reason", word], 2, &[]);
}

#[test]
fn what_a_database_says_is_shown_and_not_obeyed() {
    let desk = Desk::new(
        "runbook: r
environments: { production: { requires: { rehearsals: 1 } } }
databases: { app: { sqlite: app.db } }
phases: { p: { steps: {
  a: { sql: { database: app, query: SELECT v FROM t }, capture: { v: 'rows[0][0]' } },
  b: { sql: { database: app, statement: INSERT INTO t VALUES (1) }, undo: none, needs: [a] } } } }
",
    );
    let literal = |name: &str| hostile(name).replace('\'', "''");
    let db = rusqlite::Connection::open(desk.sandbox.path("app.db")).unwrap();
    let refuses = "CREATE TRIGGER no BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT,";
    db.execute_batch(&format!(
        "CREATE TABLE t (v); INSERT INTO t VALUES ('{}'); {refuses} '{}'); END",
        literal("cell"),
        literal("refusal")
    ))
    .unwrap();
    drop(db);
    let reason = &*hostile("reason");
    desk.says(&["run", "book.yaml", "--env", "production"], 6, &[]);
    desk.says(
        &["run", "book.yaml", "--env", "production", "--override", "--reason", reason],
        1,
        &["operator", "refusal"],
    );
    desk.says(&["status"], 0, &["operator", "refusal"]);
    desk.says(&["audit"], 0, &["operator", "reason", "refusal"]);
    assert!(
        desk.sandbox.run("status --format json").contains("<cell>")
            || desk.sandbox.run("audit --format json").contains("<cell>")
    );
}

#[test]
fn an_amendment_of_what_people_are_told_takes_the_answers_before_it_back() {
    let book = |more: &str, estimate: &str| {
        format!(
            "runbook: told
messages: {{ report: m{more} }}
budgets: {{ rollback: 1h }}
phases:
  p:
    steps:
      gate: {{ approve: 'go?' }}
      hold: {{ run: 'test -e go', undo: none }}
      b: {{ notify: {{ template: tell, to: [a@example.test] }}, estimate: {estimate} }}
"
        )
    };
    let sandbox = Sandbox::with(&book("", "1m"));
    sandbox.write("templates/m.txt", "Subject: m\n\nm\n");
    sandbox.write("templates/tell.txt", "Subject: all is well\n\nas agreed\n");
    assert_eq!(sandbox.code("run book.yaml --name told"), 3);
    for change in 0..3 {
        assert_eq!(sandbox.code("resolve gate --as go --reason x"), 0);
        assert_eq!(sandbox.code("resume"), 1);
        match change {
            0 => sandbox.write("templates/tell.txt", "Subject: all is lost\n\nnot as agreed\n"),
            1 => sandbox.write("book.yaml", book(", success: m", "1m")),
            _ => sandbox.write("book.yaml", book(", success: m", "20m")),
        }
        let shown = sandbox.run("amend told book.yaml --reason x");
        assert!(
            shown.contains("1 answer is void and will be asked again: p/gate"),
            "{change}: {shown}"
        );
        assert_eq!(sandbox.code("resume"), 3, "it is asked again");
    }
}

/// Whoever may write a lock's file may write what it likes.
#[test]
fn a_locks_file_is_shown_and_not_obeyed() {
    let desk = Desk::new(
        "runbook: locked
locks: [shop]
phases: { p: { steps: { a: { run: [/bin/true], undo: none } } } }
",
    );
    desk.says(&["run", "book.yaml"], 0, &[]);
    let holder = serde_json::json!({
        "operator": hostile("operator") + &"and so on ".repeat(1000),
        "run": hostile("run") + &"and so on ".repeat(1000),
        "host": hostile("host") + &"and so on ".repeat(1000),
        "process": 1,
        "since": "2026-01-01T00:00:00.000Z",
    });
    let path =
        std::fs::read_dir(desk.sandbox.path("locks")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&path, holder.to_string()).unwrap();
    let file = File::open(&path).unwrap();
    file.lock().unwrap();
    let text = desk.says(&["run", "book.yaml"], 6, &["operator", "run", "host"]);
    assert!(text.len() < 8000, "it is cut: {text}");
}

/// What a person is asked at a terminal, and what stands at its bottom, which moves.
#[test]
fn a_terminal_obeys_nothing_of_it() {
    let sandbox = Sandbox::with(&book(&server(), 0).replace("sleep 0.2", "sleep 1"));
    let (text, _) = sandbox.sent_to_terminal(
        "run book.yaml",
        &["", "d\nticket\n", "t\n"],
        2000,
        &hostile("operator"),
    );
    for name in ["operator", "value", "task", "field", "answer"] {
        assert!(text.contains(&format!("<{name}>")), "{name} is not there: {text}");
    }
    assert!(!text.contains("\u{1b}[2J"), "{text:?}");
    // Colours and movements of our own are no more than these; behind a movement begins another
    // line.
    let own = regex::Regex::new(r"\x1b\[[0-9;?]*([A-Zhlm])|\r").unwrap();
    let plain = own.replace_all(&text, |found: &regex::Captures| {
        if found.get(1).is_some_and(|end| end.as_str() == "m") { "" } else { "\n" }
    });
    assert_shown("the terminal", &plain.replace(['\u{3}', '^'], ""), &[]);
}

#[test]
fn a_certificate_is_shown_and_not_obeyed() {
    let (title, condition) = (quoted(&hostile("title")), condition());
    let desk = Desk::new(&format!(
        "runbook: small
title: {title}
phases:
  p:
    steps:
      a: {{ title: {title}, run: [/bin/true], capture: {{ got: stdout }}, undo: none }}
      b: {{ run: [/bin/true], when: {condition}, undo: none }}
"
    ));
    desk.says(&["certify", "book.yaml", "--every", "1000"], 0, &["condition"]);
    desk.says(&["certify", "book.yaml", "--every", "1000", "--format", "json"], 0, &[]);
}

/// Lines for people come from one place, and data is made safe where it is printed: who writes to a
/// stream by hand would pass both by.
#[test]
fn nothing_else_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (Vec::new(), vec![root.join("src")]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let (file, text) = (
                path.strip_prefix(root).unwrap().display(),
                std::fs::read_to_string(&path).unwrap_or_default(),
            );
            let writes = ["stdout()", "stderr()", "print!(", "println!(", " draw(", "print_data("];
            let is_asked = |line: &str| line.contains("is_terminal()") || line.contains("fn ");
            let lines = text
                .lines()
                .filter(|line| writes.iter().any(|word| line.contains(word)) && !is_asked(line));
            found.extend(lines.map(|line| format!("{file}: {}", line.trim())));
        }
    }
    found.sort();
    insta::assert_snapshot!(found.join("\n"), @r#"
    src/cli/doomed.rs: let mut tell = |number: u64| drop(print_data(&format!("{number}\n")));
    src/cli/doomed.rs: print_data(&commits.iter().map(|number| format!("{number}\n")).collect::<String>())?;
    src/cli/error.rs: draw(&drawn);
    src/cli/logs.rs: let (mut out, mut list) = (std::io::stdout().lock(), Vec::new());
    src/cli/mod.rs: match std::io::stdout().lock().write_all(text.as_bytes()) {
    src/cli/mod.rs: print_data(&String::from_utf8_lossy(&script))
    src/cli/mod.rs: print_data(&json_shown(&format!("{value:#}\n")))
    src/cli/mod.rs: print_data(lines.as_str())
    src/effect/keeper/serve.rs: let record = Record::of(File::from(std::io::stdout().as_fd().try_clone_to_owned()?));
    src/report/json.rs: let _ = writeln!(std::io::stdout().lock(), "{}", json_shown(&line));
    src/report/live.rs: let (rows, columns) = Term::stderr().size();
    src/report/live.rs: self.board.set_draw_target(ProgressDrawTarget::stderr());
    src/report/say.rs: .map(|(style, text)| style.clone().for_stderr().apply_to(shown(text)).to_string())
    src/report/say.rs: let _ = std::io::stderr().write_all(text.as_bytes());
    "#);
}

#[test]
fn an_amendment_takes_back_the_answers_before_what_it_changes() {
    let book = |c: &str, e: &str| {
        format!(
            "runbook: gates
phases:
  p:
    steps:
      a: {{ approve: 'a?' }}
      b: {{ approve: 'b?', needs: [] }}
      stop: {{ run: 'test -e go', undo: none, needs: [a, b] }}
      c: {{ run: 'echo {c} >> \"$W\"', undo: none, needs: [a, stop] }}
      e: {{ run: 'echo {e} >> \"$W\"', undo: none, needs: [stop] }}
"
        )
    };
    let sandbox = Sandbox::with(&book("c", "e"));
    assert_eq!(sandbox.code("run book.yaml"), 3);
    for gate in ["a", "b"] {
        if sandbox.code(&format!("resolve {gate} --as go --reason x")) == 6 {
            assert_eq!(sandbox.code("resume"), 3);
            assert_eq!(sandbox.code(&format!("resolve {gate} --as go --reason x")), 0);
        }
    }
    assert_eq!(sandbox.code("resume"), 1, "{}", sandbox.run("status"));
    let run = sandbox.json("list --format json")[0]["run"].as_str().unwrap().to_owned();
    sandbox.write("book.yaml", book("changed", "e"));
    let shown = sandbox.run(&format!("amend {run} book.yaml --reason x"));
    assert!(shown.contains("2 answers are void and will be asked again: p/a, p/b"), "{shown}");
    let status = sandbox.run("status");
    assert!(status.contains("void since an amendment, asked again: p/a, p/b"), "{status}");
    assert!(sandbox.run("audit").contains("void, to be asked again: p/a, p/b"));
    sandbox.write("go", "");
    assert_eq!(
        sandbox.code("resume"),
        3,
        "nothing goes on under the old answers: {}",
        sandbox.run("status")
    );
    assert_eq!(sandbox.read("witness"), "");
    for gate in ["a", "b"] {
        assert_eq!(sandbox.code(&format!("resolve {gate} --as go --reason y")), 0);
    }
    assert_eq!(sandbox.code("resume"), 0, "{}", sandbox.run("status"));
    assert!(sandbox.read("witness").contains("changed") && !sandbox.run("status").contains("void"));
    assert_eq!(sandbox.code("audit --verify"), 0);
}
