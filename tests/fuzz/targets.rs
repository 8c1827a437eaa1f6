//! What reads what somebody else wrote, each with good inputs and with what must hold of every
//! input. Knows nothing of how inputs are found: random changes (`main.rs`) and a guided search
//! (`guided/`) share these.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use switchover::effect::{Attempt, Known, Redactor};
use switchover::message;
use switchover::run::Event;
use switchover::runbook::{Condition, Input, Runbook, Shape, Text, load};

/// Something that reads.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    /// How many random changes are tried where nobody says otherwise.
    pub tries: u64,
    /// Of a thousand, how many at least must be accepted: a fuzzer whose inputs are all refused at
    /// the door tries nothing.
    pub floor: u64,
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Panics if something does not hold; says whether the input was accepted as a good one.
    pub accepts: fn(&[u8]) -> bool,
}

pub const ALL: [Target; 6] = [YAML, TEMPLATE, CONDITION, EVENT, REDACTOR, RECORD];

pub const YAML: Target =
    Target { name: "yaml", tries: 1_500, floor: 40, seeds: yaml_seeds, accepts: yaml };
pub const TEMPLATE: Target =
    Target { name: "template", tries: 10_000, floor: 40, seeds: template_seeds, accepts: template };
pub const CONDITION: Target = Target {
    name: "condition",
    tries: 5_000,
    floor: 40,
    seeds: condition_seeds,
    accepts: condition,
};
pub const EVENT: Target =
    Target { name: "event", tries: 20_000, floor: 50, seeds: event_seeds, accepts: event };
pub const REDACTOR: Target = Target {
    name: "redactor",
    tries: 10_000,
    floor: 300,
    seeds: redactor_seeds,
    accepts: redactor,
};
pub const RECORD: Target =
    Target { name: "record", tries: 5_000, floor: 100, seeds: record_seeds, accepts: record };

fn bytes<const N: usize>(seeds: [&str; N]) -> Vec<Vec<u8>> {
    seeds.map(|seed| seed.as_bytes().to_vec()).to_vec()
}

fn yaml_seeds() -> Vec<Vec<u8>> {
    let page = std::fs::read_to_string(repository().join("docs/runbook.md")).unwrap();
    let block = |rest: &str| rest.split("```").next().unwrap_or(rest).as_bytes().to_vec();
    let mut seeds: Vec<Vec<u8>> = page.split("```yaml\n").skip(1).map(block).collect();
    seeds.push(std::fs::read(repository().join("runbooks/quickstart.yaml")).unwrap());
    seeds
}

/// A file of YAML becomes a runbook that is read as it was written, or is refused for a reason.
fn yaml(bytes: &[u8]) -> bool {
    static SCOPE: LazyLock<Shape> = LazyLock::new(message::shape);
    let book = Path::new("book.yaml");
    let input = Input {
        path: book,
        environment: None,
        given: Vec::new(),
        swapped: false,
        complete: false,
        read: &mut |path| {
            if path == book { Ok(bytes.to_vec()) } else { Err("there is no such file".to_owned()) }
        },
        template: &mut |name| {
            (name != "none").then(|| "Subject: {{runbook.title}}\n\n{{reason}}\n".to_owned())
        },
        message_scope: &SCOPE,
    };
    match load(input) {
        Ok(runbook) => {
            let again = serde_json::to_string(&runbook).unwrap();
            let read: Runbook = serde_json::from_str(&again).unwrap();
            assert_eq!(
                again,
                serde_json::to_string(&read).unwrap(),
                "a definition is read as it was written"
            );
            true
        }
        Err(problems) => {
            assert!(!problems.list.is_empty(), "a refusal has a reason");
            false
        }
    }
}

fn template_seeds() -> Vec<Vec<u8>> {
    bytes([
        "{{ a.b }} and {{#if c}}{{d}}{{else}}{{#each list}}{{this}}{{@index}}{{/each}}{{/if}}",
        "{{{{raw}}}} {{x}} {{{{/raw}}}} {{{x}}} {{! no }} \\{{y}} {{[odd name].z}}",
    ])
}

fn template(bytes: &[u8]) -> bool {
    let values = serde_json::json!({
        "a": { "b": 1 },
        "c": true,
        "d": "{{ x }}",
        "list": [1, "two"],
        "x": "<&>",
        "odd name": { "z": 1 },
    });
    let Some(Ok(compiled)) = std::str::from_utf8(bytes).ok().map(Text::compile) else {
        return false;
    };
    let _ = compiled.references();
    let once = compiled.render(&values);
    assert_eq!(once, compiled.render(&values), "rendering depends on nothing else");
    once.is_ok()
}

fn condition_seeds() -> Vec<Vec<u8>> {
    bytes([
        r#"int(stdout) > 5 && steps["my-step"].x == "a" || !(json.list.exists(i, i.size() > 2))"#,
        "rows[0][0] == 100 ? has(a.b) : [1, 2].all(y, y in [2, 4])",
    ])
}

fn condition(bytes: &[u8]) -> bool {
    let (list, steps) =
        (serde_json::json!({ "list": ["abc"] }), serde_json::json!({ "my-step": { "x": "a" } }));
    let values = serde_json::json!({
        "stdout": "7",
        "rows": [[100]],
        "json": list,
        "a": { "b": 1 },
        "steps": steps,
    });
    let Some(Ok(condition)) = std::str::from_utf8(bytes).ok().map(Condition::compile) else {
        return false;
    };
    let _ = (condition.references(), condition.holds(&values), condition.evaluate(&values));
    true
}

fn event_seeds() -> Vec<Vec<u8>> {
    bytes([
        r#"{"number":2,"at":"2026-11-21T08:17:21.306Z","event":"step_started","step":"p/s0","direction":"forward","attempt":1,"key":"a:b:c","action":{"run":{"command":{"arguments":["/bin/true"]}}}}"#,
        r#"{"number":3,"at":"2026-11-21T08:17:21.306Z","event":"step_failed","step":"p/s0","direction":"undo","attempt":2,"failure":{"kind":"timed_out","message":"x"},"retry_at":"2026-11-21T08:17:21.306Z","logs":[{"file":"a","bytes":1,"sha256":"0000000000000000000000000000000000000000000000000000000000000000"}]}"#,
        r#"{"number":1,"at":"2026-11-21T08:17:21.306Z","event":"run_started","run":"r","runbook":"b","definition":"0000000000000000000000000000000000000000000000000000000000000000","parameters":"0000000000000000000000000000000000000000000000000000000000000000","version":"0","operator":"a","purpose":"real"}"#,
        r#"{"number":6,"at":"2026-11-21T08:17:21.306Z","event":"step_succeeded","step":"p/s0","direction":"release","attempt":1,"outputs":{"rows":[[1,null,2.5e3]],"x":{"y":"z"}},"result":"ok"}"#,
        r#"{"number":7,"at":"2026-11-21T08:17:21.306Z","event":"cursor_saved","step":"p/s0","direction":"forward","attempt":1,"cursor":"7"}"#,
        r#"{"number":4,"at":"2026-11-21T08:17:21.306Z","event":"run_stopped","because":{"stop":"in_doubt","steps":["a/b"]}}"#,
        r#"{"number":5,"at":"2026-11-21T08:17:21.306Z","event":"run_amended","definition":"0000000000000000000000000000000000000000000000000000000000000000","parameters":"0000000000000000000000000000000000000000000000000000000000000000","actor":"a","reason":"b","changes":[]}"#,
    ])
}

fn event(bytes: &[u8]) -> bool {
    let Ok(event) = serde_json::from_slice::<Event>(bytes) else { return false };
    let text = serde_json::to_string(&event).unwrap();
    assert_eq!(
        serde_json::from_str::<Event>(&text).unwrap(),
        event,
        "an event is read as it was written"
    );
    true
}

const SECRETS: [(&str, &str); 3] = [
    ("token", "correct-horse/battery+staple"),
    ("pin", "aaaaaa"),
    ("key", "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA7\nq/1x'\"\\ $z==\n-----END KEY-----"),
];

fn redactor_seeds() -> Vec<Vec<u8>> {
    let spelled = |(_, value): (&str, &str)| {
        let json = serde_json::to_string(value).unwrap();
        format!("{value} {json} aaaaa{value}aaaaaaa").into_bytes()
    };
    let mut seeds = SECRETS.map(spelled).to_vec();
    seeds.extend(bytes([
        "Y29ycmVjdC1ob3JzZS9iYXR0ZXJ5K3N0YXBsZQ== correct-horse%2Fbattery%2Bstaple",
    ]));
    seeds
}

/// Masked output holds no secret, however the stream is cut, and nothing more is found in it.
fn redactor(bytes: &[u8]) -> bool {
    static WHOLE: LazyLock<Redactor> = LazyLock::new(|| {
        Redactor::new(&SECRETS.map(|(name, value)| (name.to_owned(), value.to_owned())))
    });
    let mut stream = WHOLE.clone();
    let mut masked = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut out = Vec::new();
        pieces.for_each(|piece| stream.push(piece, &mut out));
        stream.finish(&mut out);
        out
    };
    let in_one = masked(&mut std::iter::once(bytes));
    let size = 1 + bytes.first().map_or(0, |byte| usize::from(*byte % 7));
    assert_eq!(in_one, masked(&mut bytes.chunks(size)), "the cuts make no difference");
    assert_eq!(in_one, masked(&mut std::iter::once(&*in_one)), "the output contains no needle");
    for (name, value) in SECRETS {
        assert!(
            !in_one.windows(value.len()).any(|window| window == value.as_bytes()),
            "{name} is in the output"
        );
    }
    in_one != bytes
}

fn record_seeds() -> Vec<Vec<u8>> {
    // Of another boot, an end says nothing.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let serves = |keeper: u8| {
        format!(
            r#"{{"serves":{{"keeper":{keeper},"place":{{"site":{{"machine":"m","boot":"{}","numbers":"pid:[1]"}},"session":9,"since":8}}}}}}"#,
            boot.trim()
        )
    };
    let placed = |text: &str| {
        text.replace("SERVES7", &serves(7)).replace("SERVES8", &serves(8)).into_bytes()
    };
    [
        r#"{"opened":{"keeper":7,"head":3}}
SERVES7
{"begins":{"keeper":7,"attempt":{"key":"r:p/a:forward","number":1}}}
{"ended":{"attempt":{"key":"r:p/a:forward","number":1},"over":{"exit":{"code":0}}}}
{"closed":{"keeper":7,"begun":1}}
"#,
        r#"{"opened":{"keeper":7,"head":3}}
SERVES7
{"begins":{"keeper":7,"attempt":{"key":"r:p/a:forward","number":1}}}
{"opened":{"keeper":8,"head":9}}
SERVES8
{"begins":{"keeper":8,"attempt":{"key":"r:p/b:undo","number":2}}}
{"ended":{"attempt":{"key":"r:p/b:undo","number":2},"over":{"exit":{"signal":9},"unwritten":"the disk is full"}}}
{"closed":{"keeper":8,"begun":1}}
{"closed":{"keeper":7,"begun":1}}
"#,
    ]
    .map(placed)
    .to_vec()
}

/// A keeper's record. Each line of the input gets its checksum, without which it would be refused
/// at once; one that begins with `!` is written as it stands.
fn record(bytes: &[u8]) -> bool {
    let (mut file, mut begun, mut is_whole) = (Vec::new(), Vec::new(), true);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if let Some(raw) = line.strip_prefix(b"!") {
            file.extend(raw);
        } else if !text.is_empty() {
            let sum: String =
                Sha256::digest(text)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            file.extend(sum.bytes().chain([b' ']).chain(line.iter().copied()));
        }
        let entry: Json = serde_json::from_slice(text).unwrap_or_default();
        let attempt = serde_json::from_value::<Attempt>(entry["begins"]["attempt"].clone());
        begun.extend(attempt.ok().filter(|_| line.ends_with(b"\n")));
        is_whole = line.ends_with(b"\n");
    }
    let path = record_file();
    std::fs::write(&path, &file).unwrap();
    let known = Known::of(std::slice::from_ref(&path)).unwrap();
    let other = Attempt { key: "r:p/never:forward".into(), number: 1 };
    for attempt in &begun {
        assert!(
            !known.never_began(attempt, 0),
            "{attempt:?} began, and the record proves that it did not"
        );
    }
    assert!(
        is_whole || !known.never_began(&other, 0),
        "the last line is not whole, and what is missing proves something"
    );
    assert!(!known.is_any_held() && !known.may_begin(), "nobody lives who holds the file");
    known.never_began(&other, 0) || begun.iter().any(|attempt| known.end(attempt).is_some())
}

/// A file for this process alone, in memory where that can be had.
fn record_file() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    folder.join(format!("switchover-fuzz-{}", std::process::id()))
}

pub fn repository() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.ancestors()
            .find(|folder| folder.join("docs/runbook.md").exists())
            .unwrap_or(here)
            .to_owned()
    });
    &ROOT
}
