//! Random runbooks whose commands write down what they do, in several shapes of process trees.

use super::chance::Chance;

/// How a command does its work: each writes `begin`, a few ticks and `end`, with its attempt.
const BODIES: &[&str] = &[
    // The shell itself.
    "work",
    // Another process, whose output goes elsewhere; the shell only waits.
    "python3 -c \"$PY\" > elsewhere.log 2>&1; true",
    // A job with a process group of its own.
    "set -m; work & wait $!",
    // Two levels below, while the shell waits.
    "(sh -c 'eval \"$F\"; work; true'; true); true",
];

/// Functions of the shell and a program of Python that do the same.
const HEAD: &str = r#"runbook: attack
secrets: { token: { env: TOKEN } }
env:
  F: |-
    note() { echo "$1 $SWITCHOVER_STEP $SWITCHOVER_DIRECTION $SWITCHOVER_ATTEMPT" >> "$W"; }
    work() { note begin; for i in 1 2 3 4 5 6; do sleep 0.04; note tick; done; note end; }
  PY: |-
    import os, time
    e = os.environ
    def note(word):
        with open(e["W"], "a") as out:
            words = word, e["SWITCHOVER_STEP"], e["SWITCHOVER_DIRECTION"], e["SWITCHOVER_ATTEMPT"]
            out.write(" ".join(words) + "\n")
    note("begin")
    for i in range(6):
        time.sleep(0.04)
        note("tick")
    note("end")
phases:
"#;

/// A runbook with a few steps in one or two phases.
pub fn by_chance(chance: &mut Chance) -> String {
    let mut book = HEAD.to_owned();
    let (phases, mut step) = (1 + chance.below(2), 0);
    for phase in 0..phases {
        book.push_str(&format!("  p{phase}:\n    steps:\n"));
        let first = step;
        for _ in 0..2 + chance.below(3) {
            let mut keys = Vec::new();
            // By default a step needs the one above it.
            if step > first && chance.percent(50) {
                let needs = if chance.percent(50) { String::new() } else { format!("s{first}") };
                keys.push(format!("needs: [{needs}]"));
            }
            keys.push(format!("run: '{}'", quoted(chance.of(BODIES))));
            keys.push(format!("undo: {{ run: '{}' }}", quoted(chance.of(BODIES))));
            if chance.percent(25) {
                keys.push("env: { SECRET: { secret: token } }".to_owned());
            }
            match chance.below(4) {
                0 | 1 => {
                    keys.push("idempotent: true, retry: { attempts: 3, backoff: 10ms }".to_owned())
                }
                2 => keys.push(
                    "probe: { run: 'grep -c \"end $SWITCHOVER_STEP forward\" \"$W\" || true', \
                     done: stdout != \"0\", not_done: stdout == \"0\" }"
                        .to_owned(),
                ),
                _ => {}
            }
            book.push_str(&format!("      s{step}: {{ {} }}\n", keys.join(", ")));
            step += 1;
        }
    }
    book
}

/// A script with the functions in front, in single quotes of YAML.
fn quoted(body: &str) -> String {
    format!("eval \"$F\"; {body}").replace('\'', "''")
}
