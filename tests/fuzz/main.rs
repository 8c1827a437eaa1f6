//! Random changes of good inputs, against everything that reads what somebody else wrote: nothing panics, nothing takes for ever, and
//! what is promised of the answer holds. `SWITCHOVER_FUZZ_SECONDS` is how long each target is tried (3), `SWITCHOVER_FUZZ_SEED` the seed
//! of the first input. An input that fails is kept in `tests/fuzz/kept/TARGET/`, and tried first ever after.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper of a test fails as the test does, and says what was tried"
)]

mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutate::Mutator;
use switchover::effect::Redactor;
use switchover::message;
use switchover::run::Event;
use switchover::runbook::{Condition, Input, Text, load};

/// The longest that one input may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn yaml_to_plan() {
    let mut seeds: Vec<Vec<u8>> = blocks("docs/runbook.md").into_iter().map(String::into_bytes).collect();
    seeds.push(std::fs::read(repository().join("runbooks/quickstart.yaml")).unwrap());
    fuzz("yaml", seeds, |bytes| {
        let scope = message::shape();
        let input = Input {
            path: Path::new("book.yaml"),
            environment: None,
            given: Vec::new(),
            swapped: false,
            complete: false,
            read: &mut |path| if path == Path::new("book.yaml") { Ok(bytes.to_vec()) } else { Err("there is no such file".to_owned()) },
            template: &mut |name| (name != "none").then(|| "Subject: {{runbook.title}}\n\n{{reason}}\n".to_owned()),
            message_scope: &scope,
        };
        match load(input) {
            Ok(runbook) => {
                let again = serde_json::to_string(&runbook).unwrap();
                let read: switchover::runbook::Runbook = serde_json::from_str(&again).unwrap();
                assert_eq!(again, serde_json::to_string(&read).unwrap(), "a definition is read as it was written");
            }
            Err(problems) => assert!(!problems.list.is_empty(), "a refusal has a reason"),
        }
    });
}

#[test]
fn templates() {
    let seeds = [
        "{{ a.b }} and {{#if c}}{{d}}{{else}}{{#each list}}{{this}}{{@index}}{{/each}}{{/if}}",
        "{{{{raw}}}} {{{x}}} {{! no }} \\{{y}} {{[odd name].z}}",
    ];
    let values = serde_json::json!({ "a": { "b": 1 }, "c": true, "d": "{{ x }}", "list": [1, "two"], "x": "<&>" });
    fuzz("template", seeds.map(|seed| seed.as_bytes().to_vec()).to_vec(), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(compiled) = Text::compile(text) {
            let _ = compiled.references();
            let once = compiled.render(&values);
            assert_eq!(once, compiled.render(&values), "rendering depends on nothing else");
        }
    });
}

#[test]
fn conditions() {
    let seeds = [
        r#"int(stdout) > 5 && steps["my-step"].x == "a" || !(json.list.exists(i, i.size() > 2))"#,
        "rows[0][0] == 100 ? has(a.b) : [1, 2].map(x, x * 2).all(y, y in [2, 4])",
    ];
    let values = serde_json::json!({ "stdout": "7", "rows": [[100]], "json": { "list": ["abc"] }, "a": { "b": 1 }, "steps": { "my-step": { "x": "a" } } });
    fuzz("condition", seeds.map(|seed| seed.as_bytes().to_vec()).to_vec(), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(condition) = Condition::compile(text) {
            let _ = (condition.references(), condition.holds(&values), condition.evaluate(&values));
        }
    });
}

#[test]
fn events() {
    let seeds = [
        r#"{"number":2,"at":"2026-11-21T08:17:21.306Z","event":"step_started","step":"p/s0","direction":"forward","attempt":1,"key":"a:b:c","action":{"run":{"command":{"arguments":["/bin/true"]}}}}"#,
        r#"{"number":3,"at":"2026-11-21T08:17:21.306Z","event":"step_failed","step":"p/s0","direction":"undo","attempt":2,"failure":{"kind":"timed_out","message":"x"},"retry_at":"2026-11-21T08:17:21.306Z","logs":[{"file":"a","bytes":1,"sha256":"00"}]}"#,
        r#"{"number":4,"at":"2026-11-21T08:17:21.306Z","event":"run_stopped","because":{"stop":"in_doubt","steps":["a/b"]}}"#,
        r#"{"number":5,"at":"2026-11-21T08:17:21.306Z","event":"run_amended","definition":"00","parameters":"11","actor":"a","reason":"b","changes":[]}"#,
    ];
    fuzz("event", seeds.map(|seed| seed.as_bytes().to_vec()).to_vec(), |bytes| {
        if let Ok(event) = serde_json::from_slice::<Event>(bytes) {
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "an event is read as it was written");
        }
    });
}

#[test]
fn redactor() {
    let secrets = [
        ("token", "correct-horse/battery+staple"),
        ("pin", "aaaaaa"),
        ("key", "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA7\nq/1x'\"\\ $z==\n-----END KEY-----"),
    ];
    let secrets = secrets.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let seeds: Vec<Vec<u8>> = secrets
        .iter()
        .flat_map(|(_, value)| {
            let json = serde_json::to_string(value).unwrap();
            [
                format!("{value} {json} aaaaa{value}aaaaaaa").into_bytes(),
                b"Y29ycmVjdC1ob3JzZS9iYXR0ZXJ5K3N0YXBsZQ== correct-horse%2Fbattery%2Bstaple".to_vec(),
            ]
        })
        .collect();
    let whole = Redactor::new(&secrets);
    fuzz("redactor", seeds, |bytes| {
        let mut stream = whole.clone();
        let (mut in_one, mut in_pieces) = (Vec::new(), Vec::new());
        stream.push(bytes, &mut in_one);
        stream.finish(&mut in_one);
        for piece in bytes.chunks(1 + bytes.first().map_or(0, |byte| usize::from(*byte % 7))) {
            stream.push(piece, &mut in_pieces);
        }
        stream.finish(&mut in_pieces);
        assert_eq!(in_one, in_pieces, "the cuts make no difference");
        let mut again = Vec::new();
        stream.push(&in_one, &mut again);
        stream.finish(&mut again);
        assert_eq!(in_one, again, "the output contains no needle");
        for (name, value) in &secrets {
            assert!(!in_one.windows(value.len()).any(|window| window == value.as_bytes()), "{name} is in the output");
        }
    });
}

/// Tries kept inputs, the seeds, and changes of them until the time is over.
fn fuzz(target: &str, seeds: Vec<Vec<u8>>, check: impl Fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = Duration::from_secs(number("SWITCHOVER_FUZZ_SECONDS").unwrap_or(3));
    let first =
        number("SWITCHOVER_FUZZ_SEED").unwrap_or_else(|| Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id()));
    let kept = repository().join("tests/fuzz/kept").join(target);
    let known = std::fs::read_dir(&kept).into_iter().flatten().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let attempt = |bytes: &[u8], about: &str| {
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| check(bytes)));
        if result.is_err() || begun.elapsed() > PATIENCE {
            std::fs::create_dir_all(&kept).unwrap();
            let path: PathBuf = kept.join(format!("{first:x}-{}", bytes.len()));
            std::fs::write(&path, bytes).unwrap();
            panic!("{target}, {about}: failed after {:?}; the input is kept in {}", begun.elapsed(), path.display());
        }
    };
    known.for_each(|bytes| attempt(&bytes, "kept from earlier"));
    seeds.iter().for_each(|bytes| attempt(bytes, "a good input"));
    let (begun, mut tried) = (Instant::now(), 0u64);
    while begun.elapsed() < time {
        let mut mutator = Mutator::new(first.wrapping_add(tried));
        attempt(&mutator.change(&seeds), &format!("seed {}", first.wrapping_add(tried)));
        tried += 1;
    }
    println!("fuzz: {target}, {tried} inputs from seed {first}");
}

/// The YAML examples of a page.
fn blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(repository().join(page)).unwrap();
    text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
