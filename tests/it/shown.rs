//! Text of others is shown and never obeyed, and makes no line that could be taken for one of ours.

use crate::sandbox::Sandbox;

/// What a terminal would obey, and lines that look like ours; the last is told by its word.
const HOSTILE: &str = "x\u{1b}[2J\u{1b}]0;t\u{7}\u{1b}]52;c;eA==\u{7}\r\u{8}\u{7f}\u{9b}31m\u{202e}\u{2066}\u{2028}\u{2029}\u{e0041}\n     9  2026-01-01 FORGED\nfinished: run FORGED\n  next       FORGED\n── FORGED";

/// A text as YAML, which allows no such character as it is.
fn quoted(text: &str) -> String {
    let plain = |c: char| c == ' ' || c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    let escaped = |c: char| if plain(c) { c.to_string() } else { format!("\\U{:08x}", u32::from(c)) };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

fn obeyed(c: char) -> bool {
    c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{e0000}'..='\u{e007f}')
}

fn assert_shown(verb: &str, text: &str) {
    assert!(!text.contains(obeyed), "{verb}: {text:?}");
    for line in text.lines().filter(|line| line.contains("FORGED")) {
        let bare = ["     9  2026-01-01 FORGED", "finished: run FORGED", "  next       FORGED", "── FORGED"];
        assert!(!bare.iter().any(|forged| line.starts_with(forged)), "{verb}: {line:?} in\n{text}");
    }
}

#[test]
fn no_text_of_others_is_obeyed_or_makes_a_line_of_ours() {
    let text = quoted(HOSTILE);
    let many = quoted(&HOSTILE.repeat(80));
    let sandbox = Sandbox::with(&format!(
        "runbook: hostile\ntitle: {text}\nowner: {text}\nparameters: {{ value: {{ default: {many} }} }}\nphases:\n  p:\n    title: {text}\n    steps:\n      a:\n        title: {text}\n        description: {text}\n        role: {text}\n        run: 'printf %s \"$V\"; printf %s \"$V\" >&2; echo out=1 > \"$SWITCHOVER_OUTPUT\"'\n        env: {{ V: \"{{{{ value }}}}\" }}\n        hints: [{text}]\n        undo: none\n      b: {{ title: {text}, run: 'printf %s \"$V\"; printf %s \"$V\" >&2; exit 1', env: {{ V: \"{{{{ value }}}}\" }}, hints: [{text}], undo: none }}\n      c: {{ approve: {text}, role: {text}, needs: [b] }}\n"
    ));
    let who = [("SWITCHOVER_OPERATOR", HOSTILE.to_owned())];
    let said = |verb: &str| {
        let text = sandbox.run_with(verb, &who);
        assert_shown(verb, &text);
        text
    };
    let reason = |line: &str| {
        let text = sandbox.run(&line.replace("REASON", &HOSTILE.replace(' ', "~")));
        assert_shown(line, &text);
        text
    };
    for verb in ["check book.yaml", "plan book.yaml", "plan book.yaml --format json", "rehearse book.yaml --runs 1", "run book.yaml --dry-run"] {
        let shown = said(verb);
        assert!(shown.ends_with("exit 0") || verb.ends_with("--dry-run"), "{verb}: {shown}");
    }
    assert!(said("run book.yaml").ends_with("exit 1"));
    for verb in ["list", "status", "audit", "logs a", "logs b", "status --format json", "audit --format json", "logs b --format json"] {
        assert!(said(verb).ends_with("exit 0"), "{verb}");
    }
    assert!(reason("skip b --reason REASON").ends_with("exit 0"));
    assert!(said("resume").ends_with("exit 3"));
    assert!(reason("resolve c --as no-go --reason REASON").ends_with("exit 0"));
    said("status");
    said("resume");
    assert!(reason("rollback --reason REASON").contains("exit"));
    let audit = said("audit");
    assert!(audit.contains("FORGED") && audit.contains("\\u{1b}"), "the texts are there, and seen: {audit}");
}

#[test]
fn an_amendment_takes_back_the_answers_before_what_it_changes() {
    let book = |c: &str, e: &str| {
        format!(
            "runbook: gates\nphases:\n  p:\n    steps:\n      a: {{ approve: 'a?' }}\n      b: {{ approve: 'b?', needs: [] }}\n      stop: {{ run: 'test -e go', undo: none, needs: [a, b] }}\n      c: {{ run: 'echo {c} >> \"$W\"', undo: none, needs: [a, stop] }}\n      e: {{ run: 'echo {e} >> \"$W\"', undo: none, needs: [stop] }}\n"
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
    assert_eq!(sandbox.code("resume"), 3, "nothing goes on under the old answers: {}", sandbox.run("status"));
    assert_eq!(sandbox.read("witness"), "");
    for gate in ["a", "b"] {
        assert_eq!(sandbox.code(&format!("resolve {gate} --as go --reason y")), 0);
    }
    assert_eq!(sandbox.code("resume"), 0, "{}", sandbox.run("status"));
    assert!(sandbox.read("witness").contains("changed") && !sandbox.run("status").contains("void"));
    assert_eq!(sandbox.code("audit --verify"), 0);
}
