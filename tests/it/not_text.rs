//! Bytes that are not UTF-8, from whatever a step reads: nothing is decided by them, nothing of
//! them is captured, and what is shown of them can be read.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::sandbox::Sandbox;

/// A server that answers with this body.
fn server(body: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(body);
        }
    });
    format!("http://{address}/")
}

#[test]
fn neither_a_condition_nor_a_capture_takes_other_bytes_for_text() {
    let (latin, json) = (server(b"M\xfcller"), server(b"{\"name\": \"M\xfcller\"}"));
    let print = r#"run: 'printf "M\\374ller\n"; printf "M\\374ller\n" >&2', undo: none"#;
    let said = r#"run: 'printf "name=M\\374ller\n" > "$SWITCHOVER_OUTPUT"', undo: none"#;
    let query = |text: &str| format!("sql: {{ database: app, query: \"SELECT {text} AS name\" }}");
    let (latin, json) =
        (format!("http: {{ url: '{latin}' }}"), format!("http: {{ url: '{json}' }}"));
    for (step, keys, words, code) in [
        (print, "expect: 'stderr.size() > 0'", "stderr holds bytes that are not UTF-8", 1),
        (
            print,
            "expect: 'stdout == \"M\u{fffd}ller\"'",
            "stdout holds bytes that are not UTF-8",
            1,
        ),
        (print, "capture: { name: stderr }", "stderr holds bytes that are not UTF-8", 1),
        (print, "expect: exit_code == 0", "", 0),
        (
            said,
            "expect: 'outputs.name != \"\"'",
            "what the command wrote to $SWITCHOVER_OUTPUT is no UTF-8",
            1,
        ),
        (&latin, "expect: 'body.startsWith(\"M\")'", "body holds bytes that are not UTF-8", 1),
        (&latin, "capture: { name: body }", "body holds bytes that are not UTF-8", 1),
        (&latin, "expect: status == 200", "", 0),
        (&json, "expect: json == null", "json holds bytes that are not UTF-8", 1),
        (&json, "capture: { name: json.name }", "json holds bytes that are not UTF-8", 1),
        (
            &query("CAST(x'4dfc' AS TEXT)"),
            "capture: { name: 'rows[0][0]' }",
            "rows holds bytes that are not UTF-8",
            1,
        ),
        (
            &query("CAST(x'4dfc' AS TEXT)"),
            "expect: 'size(rows) == 1'",
            "rows holds bytes that are not UTF-8",
            1,
        ),
        (&query("CAST(x'4dfc' AS TEXT)"), "expect: 'columns == [\"name\"]'", "", 0),
        (&query("x'4dfc'"), "expect: 'rows[0][0] == \"4dfc\"'", "", 0),
    ] {
        let sandbox = Sandbox::with(&format!(
            "runbook: bytes
databases: {{ app: {{ sqlite: app.db }} }}
phases:
  p:
    steps:
      a: {{ {step}, {keys} }}
"
        ));
        drop(
            rusqlite::Connection::open(sandbox.path("app.db"))
                .unwrap()
                .execute_batch("CREATE TABLE t (a)"),
        );
        let shown = sandbox.run("run book.yaml");
        assert!(
            shown.contains(words) && shown.ends_with(&format!("exit {code}")),
            "{step}, {keys}: {shown}"
        );
        // The journal has no half of it, and can be read by all.
        assert!(
            code == 0 || !sandbox.run("audit --format json").contains("\"outputs\": {\"name\""),
            "{keys}"
        );
        assert_eq!(sandbox.code("audit --verify"), 0, "{keys}");
        serde_json::to_string(&sandbox.json("status --format json")).unwrap();
    }
}

#[test]
fn logs_show_other_bytes_as_such_and_break_no_character_of_a_long_line() {
    // The first line is longer than what is read at once, and the piece ends within a character.
    let sandbox = Sandbox::with(
        r#"runbook: bytes
phases:
  p:
    steps:
      a: { run: { shell: [python3, -c], script: 'import sys; sys.stdout.buffer.write(b"x" + "ü".encode() * 100000 + b"\nM\xfcller\nend\xc3")' }, undo: none }
"#,
    );
    let shown = sandbox.run("run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    let wanted =
        [format!("x{}", "ü".repeat(100_000)), "M\u{fffd}ller".to_owned(), "end\u{fffd}".to_owned()];
    let shown = sandbox.run("logs a");
    let lines: Vec<&str> = shown.lines().skip(1).take(3).collect();
    for (line, wanted) in lines.iter().zip(&wanted) {
        let text = &line[line.find(wanted.chars().next().unwrap()).unwrap_or_default()..];
        assert!(
            text == wanted,
            "{} replaced in {} characters",
            text.matches('\u{fffd}').count(),
            text.chars().count()
        );
    }
    assert_eq!(lines.len(), 3, "{}", shown.chars().take(200).collect::<String>());
    assert_eq!(sandbox.json("logs a --format json")[0]["text"], wanted.join("\n"));
    // On the disk they are as they were.
    let bytes = std::fs::read(
        sandbox.json("logs a --format json")[0]["file"]
            .as_str()
            .map(|file| sandbox.path(file))
            .unwrap(),
    )
    .unwrap();
    assert!(bytes.ends_with(b"M\xfcller\nend\xc3"));
}
