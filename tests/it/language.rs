//! What the language promises, run for real.

use super::sandbox::Sandbox;

#[test]
fn outputs_captures_conditions_and_repetition() {
    let sandbox = Sandbox::with(
        r#"runbook: flow
parameters: { regions: { type: list, default: [eu, us] } }
phases:
  one:
    steps:
      size: { run: 'echo "bytes=42" >> "$SWITCHOVER_OUTPUT"; echo hello', capture: { word: stdout }, undo: none }
      each:
        for_each: regions
        run: [echo, "{{ item }}-{{ steps.size.bytes }}-{{ steps.size.word }}"]
        capture: { line: stdout }
        undo: none
      never: { when: 'steps.size.word == "bye"', run: [/bin/false], undo: none }
  two:
    steps:
      all: { run: [echo, "{{ steps.each.eu.line }} {{ steps.each.us.line }}"], expect: 'stdout == "eu-42-hello us-42-hello"', undo: none }
"#,
    );
    insta::assert_snapshot!(sandbox.run("run book.yaml --parallel 1"), @r#"
    run <run> of flow began, by oncall@test
    begin    one/size
    done     one/size after <time>: exit 0
    begin    one/each[eu]
    done     one/each[eu] after <time>: exit 0
    begin    one/each[us]
    done     one/each[us] after <time>: exit 0
    skipped  one/never: its condition does not hold: steps.size.word == "bye"
    begin    two/all
    done     two/all after <time>: exit 0
    finished: run <run>, 5 steps in <time>
      review     switchover audit <run>
      go back    switchover rollback <run>
    exit 0
    "#);
}

#[test]
fn hostile_values_are_data() {
    let book = r#"runbook: hostile
parameters: { evil: { type: string }, api: { type: string } }
phases:
  one:
    steps:
      shell: { run: 'printf %s "$EVIL"', env: { EVIL: "{{ evil }}" }, capture: { out: stdout }, expect: stdout == evil, undo: none }
      args: { run: [printf, "%s", "{{ steps.shell.out }}"], expect: stdout == evil, undo: none }
      input: { run: { script: cat, stdin: "{{ steps.shell.out }}" }, expect: stdout == evil, undo: none }
      output:
        run: 'printf "{\"out\": %s}" "$JSON" > "$SWITCHOVER_OUTPUT"'
        env: { JSON: "{{ quoted }}" }
        undo: { run: 'test "$A" = "$B"', env: { A: "{{ outputs.out }}", B: "{{ evil }}" } }
      again: { run: [printf, "%s", "{{ steps.output.out }}"], expect: stdout == evil, undo: none }
      insert:
        sql: { database: x.db, statement: "CREATE TABLE t (a); INSERT INTO t VALUES (:evil)", parameters: { evil: "{{ steps.output.out }}" } }
        undo: { sql: { database: x.db, statement: "DROP TABLE t" } }
      select: { sql: { database: x.db, query: SELECT a FROM t }, expect: "rows[0][0] == evil" }
"#
    .replace("api: {", "quoted: { type: string }, api: {");
    let header = r#"      header: { http: { url: "{{ api }}/echo", headers: { X-Evil: "{{ steps.output.out }}" } }, expect: body == evil }
"#;
    for hostile in [
        "$(touch pwned) `touch pwned` '; touch pwned; \" {{x}} -rf \\n %s",
        "-rf",
        "--help",
        "'; DROP TABLE t; --",
        "\"}, \"out\": \"no\"",
        "evil == evil || true",
        "{{#each steps}}{{this}}{{/each}} ${EVIL} %EVIL% !!",
        "two\nlines\n[section]\nkey=value",
        "\u{1b}]0;title\u{7} \u{202e}drow",
        "* ~ ? [a-z] > out < in | cat &",
    ] {
        let sandbox = Sandbox::new();
        let (_nginx, plain, _) = super::http::nginx(&sandbox);
        // A header has one line, without control characters.
        let fits = !hostile.chars().any(|c| c.is_control() || !c.is_ascii());
        sandbox.write("book.yaml", format!("{book}{}", if fits { header } else { "" }));
        let quoted = serde_json::to_string(hostile).unwrap();
        let values = serde_json::json!({
            "evil": hostile,
            "quoted": quoted,
            "api": format!("http://127.0.0.1:{plain}"),
        });
        sandbox.write("values.yaml", values.to_string());
        let shown = sandbox.run("run book.yaml --values values.yaml");
        assert!(shown.ends_with("exit 0"), "{hostile}: {shown}");
        assert_eq!(sandbox.code("rollback"), 4, "{hostile}");
        assert!(!sandbox.path("pwned").exists());
        for verb in ["audit", "status", "logs shell", "plan book.yaml --values values.yaml"] {
            assert!(
                !sandbox.run(verb).contains('\u{1b}'),
                "{verb}: control characters are shown, not sent"
            );
        }
    }
}

#[test]
fn nested_runbooks_get_parameters_and_give_outputs() {
    let sandbox = Sandbox::with(
        r#"runbook: outer
phases:
  one:
    steps:
      name: { run: 'echo shop', capture: { name: stdout }, undo: none }
      move: { runbook: { file: inner.yaml, parameters: { database: "{{ steps.name.name }}", copies: 2 } }, capture: { made: steps.make.made } }
      use: { run: [echo, "{{ steps.move.made }}"], expect: 'stdout == "shop-2"', undo: none }
"#,
    );
    sandbox.write(
        "inner.yaml",
        "runbook: inner
parameters: { database: { type: string }, copies: { type: integer } }
phases:
  inside:
    steps:
      make: { run: [echo, \"{{ database }}-{{ copies }}\"], capture: { made: stdout }, undo: none }
",
    );
    insta::assert_snapshot!(sandbox.run("run book.yaml"), @"
    run <run> of outer began, by oncall@test
    begin    one/name
    done     one/name after <time>: exit 0
    begin    one/move/inside/make
    done     one/move/inside/make after <time>: exit 0
    begin    one/move
    done     one/move after <time>: done
    begin    one/use
    done     one/use after <time>: exit 0
    finished: run <run>, 4 steps in <time>
      review     switchover audit <run>
      go back    switchover rollback <run>
    exit 0
    ");
}

#[test]
fn retries_timeouts_and_waiting() {
    let sandbox = Sandbox::with(
        r#"runbook: patience
phases:
  one:
    steps:
      third: { run: 'echo x >> "$W"; [ "$(wc -l < "$W")" -ge 3 ]', retry: { attempts: 5, backoff: 10ms }, idempotent: true, undo: none }
      until: { wait: { until: 'int(stdout) >= 3', probe: { run: 'wc -l < "$W"' }, every: 10ms, stable: 3 }, timeout: 20s }
      slow: { run: sleep 60, timeout: 200ms, undo: none }
"#,
    );
    insta::assert_snapshot!(sandbox.run("run book.yaml"), @"
    run <run> of patience began, by oncall@test
    begin    one/third
    FAILED   one/third: exit 1; next attempt in <time>
    begin    one/third, attempt 2
    FAILED   one/third: exit 1; next attempt in <time>
    begin    one/third, attempt 3
    done     one/third after <time>: exit 0
    begin    one/until
    done     one/until after <time>: held after 3 readings
    begin    one/slow
    stopping one/slow: it took too long
    FAILED   one/slow: it took longer than 200ms and was stopped (killed by signal 15)
    stopped: one/slow failed
      run        <run>, 2 of 3 steps done
      step       one/slow (book.yaml:7)
      forward    attempt 1: it took longer than 200ms and was stopped (killed by signal 15)
      next       mend it, then  switchover resume <run>
      or         switchover skip slow --run <run> --reason '…'
      or         switchover rollback <run>
      output     switchover logs slow --run <run>
    exit 1
    ");
    assert_eq!(sandbox.witness().len(), 3);
}

#[test]
fn a_wait_that_takes_too_long_says_what_its_probe_said_last() {
    let shown = |probe: &str| {
        let wait = format!(
            "{{ wait: {{ until: 'int(stdout) > 5', probe: {{ run: '{probe}' }}, every: 10ms }}, \
             timeout: 1s }}"
        );
        Sandbox::with(&format!("runbook: late\nphases:\n  p:\n    steps:\n      lag: {wait}\n"))
            .run("run book.yaml")
    };
    let said = shown("echo 3");
    assert!(
        said.contains("`int(stdout) > 5` did not hold in ")
            && said.contains("readings; the last one said: 3"),
        "{said}"
    );
    assert!(said.contains("it took longer than 1s") && said.ends_with("exit 1"), "{said}");
    let unfit = shown("echo none");
    assert!(
        unfit.contains(
            "readings; the last one said: none, of which the condition cannot be \
        decided: `int(stdout) > 5`: "
        ),
        "{unfit}"
    );
}

#[test]
fn failures_can_be_tolerated_up_to_a_limit() {
    let book = |most| {
        format!(
            "runbook: many
phases:
  p:
    steps:
      each: {{ for_each: {{ in: [a, b, c], max_failures: {most} }}, run: ['test', '{{{{ item }}}}', '=', 'a'], undo: none }}
      after: {{ run: [/bin/true], undo: none }}
"
        )
    };
    assert_eq!(Sandbox::with(&book(2)).code("run book.yaml"), 0);
    assert_eq!(Sandbox::with(&book(1)).code("run book.yaml"), 1);
    let go_on = Sandbox::with(
        "runbook: c
phases:
  p:
    steps:
      a: { run: [/bin/false], undo: none, on_failure: continue }
      b: { run: [/bin/true], undo: none }
",
    );
    insta::assert_snapshot!(go_on.run("run book.yaml"), @"
    run <run> of c began, by oncall@test
    begin    p/a
    FAILED   p/a: exit 1
    skipped  p/a: it failed, and the runbook goes on without it
    begin    p/b
    done     p/b after <time>: exit 0
    finished: run <run>, 2 steps in <time>
      review     switchover audit <run>
      go back    switchover rollback <run>
    exit 0
    ");
}

#[test]
fn a_hold_is_released_at_its_point_and_on_failure_and_taken_again() {
    let sandbox = Sandbox::with(
        r#"runbook: hold
phases:
  one:
    steps:
      silence: { run: 'echo hold >> "$W"', undo: none, hold: { until: b, release: { run: 'echo release >> "$W"' } } }
      a: { run: 'test -e ok', undo: none }
      b: { run: 'echo b >> "$W"', undo: none }
      c: { run: 'sleep 0.3; echo c >> "$W"', undo: none }
"#,
    );
    assert_eq!(sandbox.code("run book.yaml"), 1);
    assert_eq!(sandbox.witness(), ["hold", "release"]);
    sandbox.write("ok", "");
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness(), ["hold", "release", "hold", "b", "release", "c"]);
}

#[test]
fn secrets_reach_the_command_and_no_file() {
    let sandbox = Sandbox::with(
        r#"runbook: secret
secrets: { token: { file: token.txt } }
phases: { p: { steps: { use: { run: 'test "${#TOKEN}" = 12', env: { TOKEN: { secret: token } }, undo: none } } } }
"#,
    );
    sandbox.write("token.txt", "s3cr3t-t0k3n\n");
    assert_eq!(sandbox.code("run book.yaml"), 0);
    for name in ["journal/switchover.db", "journal/switchover.db-wal"] {
        let bytes = std::fs::read(sandbox.path(name)).unwrap_or_default();
        assert!(
            !bytes.windows(12).any(|window| window == b"s3cr3t-t0k3n"),
            "{name} holds the secret"
        );
    }
}

#[test]
fn until_stops_and_resume_goes_on_and_a_finished_run_adds_nothing() {
    let sandbox = Sandbox::with(
        "runbook: u
phases:
  p:
    steps:
      a: { run: 'echo a >> \"$W\"', undo: none }
      b: { run: 'echo b >> \"$W\"', undo: none }
",
    );
    insta::assert_snapshot!(sandbox.run("run book.yaml --until a"), @"
    run <run> of u began, by oncall@test
    begin    p/a
    done     p/a after <time>: exit 0
    stopped after p/a, as asked
      run        <run>, 1 of 2 steps done
      next       switchover resume <run>   or   switchover rollback <run>
    exit 0
    ");
    assert_eq!(sandbox.witness(), ["a"]);
    assert_eq!(sandbox.code("resume"), 0);
    insta::assert_snapshot!(sandbox.run("resume"), @"
    finished: run <run>, 2 steps in <time>
      review     switchover audit <run>
      go back    switchover rollback <run>
    exit 0
    ");
    assert_eq!(sandbox.witness(), ["a", "b"]);
}

#[test]
fn events_stream_as_json_lines_and_reading_verbs_speak_json() {
    let sandbox = Sandbox::with(
        "runbook: j\nphases: { p: { steps: { a: { run: [echo, hi], undo: none } } } }\n",
    );
    let lines = sandbox.run("run book.yaml --format json");
    let kinds: Vec<String> = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|event| event["event"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(kinds, ["run_started", "step_started", "step_succeeded", "run_ended"]);
    assert_eq!(sandbox.json("status --format json")["ended"], "finished");
    assert_eq!(sandbox.json("list --format json")[0]["state"], "finished");
    assert_eq!(sandbox.json("audit --format json")["whole"], true);
    assert_eq!(sandbox.json("logs a --format json")[0]["text"], "hi\n");
    assert_eq!(sandbox.json("plan book.yaml --format json")["steps"][0]["id"], "p/a");
    assert_eq!(sandbox.json("schema")["type"], "object");
}

#[test]
fn copies_of_a_nested_runbook_go_so_many_at_once_in_the_order_as_written() {
    let sandbox = Sandbox::with(
        "runbook: outer
parameters: { clouds: { type: map, default: { zeta: 1, alpha: 2, mid: 3 } } }
phases:
  p:
    steps:
      each: { for_each: { in: clouds, max_parallel: 1 }, runbook: { file: inner.yaml, parameters: { name: '{{ key }}' } } }
",
    );
    sandbox.write(
        "inner.yaml",
        "runbook: inner
parameters: { name: {} }
phases:
  q:
    steps:
      one: { run: 'echo \"begin $N\" >> \"$W\"; sleep 0.1', env: { N: '{{ name }}' }, undo: none }
      two: { run: 'echo \"end $N\" >> \"$W\"', env: { N: '{{ name }}' }, undo: none }
",
    );
    assert_eq!(sandbox.code("run book.yaml --parallel 4"), 0, "{}", sandbox.run("check book.yaml"));
    assert_eq!(
        sandbox.witness(),
        ["begin zeta", "end zeta", "begin alpha", "end alpha", "begin mid", "end mid"]
    );
}

#[test]
fn a_reading_has_no_variables_of_its_own_and_what_is_ruled_out_takes_no_time() {
    let sandbox = Sandbox::with(
        "runbook: r
parameters: { way: { default: a } }
budgets: { duration: 5s }
phases:
  p:
    steps:
      a: { when: way == 'a', run: 'true', undo: none, estimate: 4s }
      b: { when: way == 'b', run: 'true', undo: none, estimate: 4s }
",
    );
    assert_eq!(sandbox.code("check book.yaml"), 0, "only one of the two is done");
    sandbox.write(
        "wrong.yaml",
        "runbook: w
phases:
  p:
    steps:
      a: { wait: { until: 'true', probe: { run: { script: 'true', env: { A: b } } } } }
",
    );
    assert!(
        sandbox.run("check wrong.yaml").contains("no variables of its own"),
        "{}",
        sandbox.run("check wrong.yaml")
    );
}

#[test]
fn what_an_expression_makes_of_a_map_comes_in_the_maps_order() {
    let names: Vec<String> = (0..12).map(|number| format!("n{:02}", (number * 7) % 12)).collect();
    let map: Vec<String> = names.iter().map(|name| format!("{name}: {{ on: true }}")).collect();
    let sandbox = Sandbox::with(&format!(
        "runbook: r
parameters: {{ all: {{ type: map, default: {{ {} }} }}, some: {{ type: list, default: [b, a] }} }}
phases:
  p:
    steps:
\x20     a: {{ for_each: 'all.filter(name, all[name].on)', run: 'true', undo: none }}
\x20     b: {{ for_each: 'some.filter(name, !(name in all))', run: 'true', undo: none }}
",
        map.join(", ")
    ));
    let plan = sandbox.json("plan book.yaml --format json");
    let ids: Vec<&str> =
        plan["steps"].as_array().unwrap().iter().map(|step| step["id"].as_str().unwrap()).collect();
    let expected: Vec<String> = names
        .iter()
        .map(|name| format!("p/a[{name}]"))
        .chain(["p/b[b]".into(), "p/b[a]".into()])
        .collect();
    assert_eq!(ids, expected);
}
