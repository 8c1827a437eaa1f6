//! Route 53 as moto answers for it: sets of records and their weights are changed in one batch and
//! put back exactly, and traffic is moved by weights. moto takes no record for new that it was once
//! told to create in the very same words: no test makes one twice.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::sandbox::Sandbox;
use super::servers::lab;

pub const ID: &str = "AKIALABONLY";
pub const KEY: &str = "secret-key-of-the-lab-only";

pub fn book_at(endpoint: &str, zone: &str, more: &str) -> String {
    format!(
        "runbook: cloud
secrets: {{ id: {{ env: AWS_ID }}, key: {{ env: AWS_KEY }} }}
zones: {{ cloud: {{ route53: {{ zone: {zone}, access_key: {{ secret: id }}, secret_key: {{ secret: key }}, endpoint: '{endpoint}' }} }} }}
{more}"
    )
}

fn steps(zone: &str, steps: &str) -> Sandbox {
    Sandbox::with(&book_at(&endpoint(), zone, &format!("phases:\n  p:\n    steps:\n{steps}")))
}

fn endpoint() -> String {
    format!("http://127.0.0.1:{}", lab().port("route53"))
}

pub fn environment() -> [(&'static str, String); 2] {
    [("AWS_ID", ID.to_owned()), ("AWS_KEY", KEY.to_owned())]
}

fn run(sandbox: &Sandbox, line: &str) -> String {
    sandbox.run_with(line, &environment())
}

/// What moto answers to somebody else.
fn amazon(path: &str, body: &str) -> String {
    let url = format!("{}/2013-04-01/{path}", endpoint());
    let mut command = Command::new("curl");
    command.args(["-sf", "-H", "Content-Type: application/xml", "-H"]);
    command.args([
        "Authorization: AWS4-HMAC-SHA256 Credential=lab/20260101/us-east-1/route53/aws4_request",
        &url,
    ]);
    if !body.is_empty() {
        command.args(["-d", body]);
    }
    let output = command.output().expect("curl");
    assert!(output.status.success(), "{path}: {body}");
    String::from_utf8(output.stdout).unwrap()
}

/// A new hosted zone, by its id.
pub fn zone(name: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let said = amazon(
        "hostedzone",
        &format!(
            "<CreateHostedZoneRequest \
             xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\
             \"><Name>{name}</Name><CallerReference>{name}{count}</CallerReference></CreateHostedZoneRequest>"
        ),
    );
    between(&said, "<Id>/hostedzone/", "</Id>")[0].to_owned()
}

/// Writes a set of records as somebody else would; `more` is what it has besides.
pub fn upsert(zone: &str, name: &str, kind: &str, more: &str) {
    let set = format!(
        "<ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type>{more}</ResourceRecordSet>"
    );
    let batch = format!(
        "<ChangeBatch><Changes><Change><Action>UPSERT</Action>{set}</Change></Changes></ChangeBatch>"
    );
    amazon(
        &format!("hostedzone/{zone}/rrset"),
        &format!(
            "<ChangeResourceRecordSetsRequest \
             xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\
             \">{batch}</ChangeResourceRecordSetsRequest>"
        ),
    );
}

pub fn weighted(set: &str, weight: u8, ttl: u32, value: &str) -> String {
    format!("<SetIdentifier>{set}</SetIdentifier><Weight>{weight}</Weight>{}", plain(ttl, value))
}

pub fn plain(ttl: u32, value: &str) -> String {
    format!(
        "<TTL>{ttl}</TTL><ResourceRecords><ResourceRecord><Value>{value}</Value></ResourceRecord></ResourceRecords>"
    )
}

/// The zone's sets of records, as they are told, in order.
pub fn sets(zone: &str) -> Vec<String> {
    let said = amazon(&format!("hostedzone/{zone}/rrset"), "");
    let mut sets: Vec<String> = between(&said, "<ResourceRecordSet>", "</ResourceRecordSet>")
        .into_iter()
        .map(str::to_owned)
        .collect();
    sets.sort();
    sets
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.split(from).skip(1).map(|rest| rest.split(to).next().unwrap()).collect()
}

/// Another moto, of one test alone.
struct Moto {
    process: Child,
    port: u16,
}

impl Moto {
    fn begin(arguments: &[&str], variables: &[(&str, &str)]) -> Moto {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = std::env::var("MOTO").unwrap_or("/opt/switchover-lab".to_owned());
        let mut command = Command::new(format!("{folder}/bin/moto_server"));
        command
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .args(arguments)
            .envs(variables.iter().copied());
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("moto");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "moto does not begin");
            std::thread::sleep(Duration::from_millis(50));
        }
        Moto { process, port }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn sets_and_their_weights_are_changed_at_once_and_put_back() {
    let id = zone("sets.example");
    let health = "<HealthCheckId>b1a2</HealthCheckId>";
    upsert(
        &id,
        "shop.sets.example",
        "A",
        &format!("{}{health}", weighted("sets-old", 200, 60, "192.0.2.1")),
    );
    upsert(&id, "shop.sets.example", "A", &weighted("sets-new", 3, 60, "192.0.2.2"));
    upsert(&id, "*.sets.example", "CNAME", &plain(300, "shop.sets.example"));
    upsert(&id, "sets.example", "TXT", &plain(30, r#""one; \"quoted\"" "two""#));
    upsert(&id, "gone.sets.example", "MX", &plain(77, "10 mx.sets.example."));
    let before = sets(&id);
    let sandbox = steps(
        "sets.example",
        r#"
      both:
        dns:
          zone: cloud
          records:
            - { name: shop, type: A, set: sets-old, values: [192.0.2.1, 192.0.2.11], expect: [192.0.2.1] }
            - { name: shop, type: A, set: sets-new, value: 192.0.2.2, weight: 255, ttl: 30s }
            - { name: "*", type: CNAME, value: new.sets.example }
        expect: was[0].weight == 200 && is[0].weight == 200 && is[1].weight == 255 && is[2].ttl == 300
      text: { dns: { zone: cloud, name: "@", type: TXT, lower_ttl: 29s }, timeout: 1s, on_failure: continue }
      gone: { dns: { zone: cloud, name: gone, type: MX, delete: true } }
      new: { dns: { zone: cloud, name: new, type: A, value: 192.0.2.3, ttl: 5s, expect: [] }, needs: [gone] }
"#,
    );
    let shown = run(&sandbox, "run book.yaml");
    assert!(shown.contains("done     p/new"), "{shown}");
    let now = sets(&id);
    let has = |words: &[&str]| now.iter().any(|set| words.iter().all(|word| set.contains(word)));
    assert!(
        has(&["sets-old", "<Weight>200<", "<TTL>60<", "192.0.2.11", "<HealthCheckId>b1a2<"]),
        "{now:?}"
    );
    assert!(
        has(&["sets-new", "<Weight>255<", "<TTL>30<"]) && has(&["new.sets.example.<", "192.0.2.3"]),
        "{now:?}"
    );
    assert!(has(&["TXT", "<TTL>29<", r#""one; \"quoted\"" "two""#]) && !has(&["MX"]), "{now:?}");
    let shown = run(&sandbox, "rollback");
    assert!(shown.ends_with("exit 4"), "{shown}");
    let without_dots =
        |sets: Vec<String>| sets.join("\n").replace("shop.sets.example.<", "shop.sets.example<");
    assert_eq!(without_dots(sets(&id)), without_dots(before));
    let events = sandbox.run("audit --format json");
    assert!(!events.contains(KEY) && !events.contains(ID), "{events}");
}

#[test]
fn what_somebody_else_changed_is_left_alone() {
    let id = zone("others.example");
    upsert(&id, "shop.others.example", "A", &weighted("others-old", 9, 60, "192.0.2.1"));
    let sandbox = steps(
        "others.example",
        "      \
         a: { dns: { zone: cloud, name: shop, type: A, set: others-old, value: 192.0.2.2, weight: 1 } \
         }\n",
    );
    let shown = run(&sandbox, "run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    upsert(&id, "shop.others.example", "A", &weighted("others-old", 7, 60, "192.0.2.2"));
    let shown = run(&sandbox, "rollback");
    assert!(
        shown.contains(
            "the record shop.others.example. A (others-old) in others.example at Route 53"
        ),
        "{shown}"
    );
    assert!(
        shown.contains("expected: 192.0.2.2 (TTL 60s, weight 1)")
            && shown.contains("found: 192.0.2.2 (TTL 60s, weight 7)"),
        "{shown}"
    );
    assert!(shown.contains("nothing was changed") && shown.ends_with("exit 5"), "{shown}");
}

/// The way to moto, on which somebody removes a set of records before the first change arrives.
fn way_to_moto(zone: String, removed: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut here = stream.unwrap();
            let mut there = TcpStream::connect(("127.0.0.1", lab().port("route53"))).unwrap();
            let (mut back, mut to) = (there.try_clone().unwrap(), here.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back, &mut to));
            let mut bytes = [0; 16384];
            while let Ok(count) = here.read(&mut bytes)
                && count > 0
            {
                if bytes.starts_with(b"POST") {
                    amazon(&format!("hostedzone/{zone}/rrset"), &removed);
                }
                if there.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
        }
    });
    port
}

#[test]
fn a_change_that_is_refused_changed_nothing() {
    let id = zone("between.example");
    upsert(&id, "shop.between.example", "A", &plain(60, "192.0.2.1"));
    // Whoever creates what is already there is refused by Route 53, and by moto too.
    let other = "<ChangeResourceRecordSetsRequest \
        xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\
        \"><ChangeBatch><Changes><Change><Action>CREATE</Action><ResourceRecordSet><Name>new.between.example.</Name><Type>A</Type><TTL>5</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.9</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>";
    let port = way_to_moto(id.clone(), other.to_owned());
    let book = book_at(
        &format!("http://127.0.0.1:{port}"),
        "between.example",
        "phases:
  p:
    steps:
      a:
        dns:
          zone: cloud
          records:
            - { name: shop, type: A, value: 192.0.2.2 }
            - { name: new, type: A, value: 192.0.2.9, ttl: 5s }
",
    );
    let sandbox = Sandbox::with(&book);
    let shown = run(&sandbox, "run book.yaml");
    assert!(
        shown.contains("the record new.between.example. A in between.example at Route 53"),
        "{shown}"
    );
    assert!(
        shown.contains("is not what was read a moment ago")
            && shown.contains("found: 192.0.2.9 (TTL 5s)"),
        "{shown}"
    );
    assert!(shown.contains("expected: nothing") && shown.ends_with("exit 1"), "{shown}");
    assert!(
        sets(&id)
            .iter()
            .any(|set| set.contains("shop.between.example") && set.contains("192.0.2.1<")),
        "{:?}",
        sets(&id)
    );
    assert!(run(&sandbox, "rollback").ends_with("exit 4"));
}

#[test]
fn what_cannot_be_done_is_named_with_its_server_and_remedy() {
    let id = zone("errors.example");
    zone("twice.example");
    zone("twice.example");
    upsert(&id, "sets.errors.example", "A", &weighted("errors-old", 9, 60, "192.0.2.1"));
    upsert(&id, "simple.errors.example", "A", &plain(60, "192.0.2.1"));
    upsert(
        &id,
        "latency.errors.example",
        "A",
        &format!(
            "<SetIdentifier>errors-eu</SetIdentifier><Region>eu-west-1</Region>{}",
            plain(60, "192.0.2.1")
        ),
    );
    let refusing = Moto::begin(&[], &[("INITIAL_NO_AUTH_ACTION_COUNT", "0")]);
    let encrypted = Moto::begin(&["-s"], &[]);
    let (here, simple) = (endpoint(), "name: simple, type: A, value: 192.0.2.2");
    let (refusing, encrypted) = (
        format!("http://127.0.0.1:{}", refusing.port),
        format!("https://127.0.0.1:{}", encrypted.port),
    );
    for (endpoint, zone, step, words) in [
        (
            "http://127.0.0.1:1",
            "errors.example",
            simple,
            vec!["Route 53 (http://127.0.0.1:1): ", "Connection refused"],
        ),
        (&encrypted, "errors.example", simple, vec!["invalid peer certificate: UnknownIssuer"]),
        (
            &refusing,
            "errors.example",
            simple,
            vec!["it answered 403", "look whether the zone's `access_key`"],
        ),
        (
            &here,
            "nowhere.example",
            simple,
            vec!["the zone nowhere.example", "these credentials see no hosted zone of this name"],
        ),
        (
            &here,
            "twice.example",
            simple,
            vec!["there are several of this name: say which, as its `id`: "],
        ),
        (
            &here,
            "errors.example",
            "name: sets, type: A, value: 192.0.2.2",
            vec!["it has the sets errors-old: say which with `set`"],
        ),
        (
            &here,
            "errors.example",
            "name: simple, type: A, set: x, value: 192.0.2.2, weight: 1",
            vec!["its records are no weighted set"],
        ),
        (
            &here,
            "errors.example",
            "name: sets, type: A, set: x, value: 192.0.2.2, ttl: 5s",
            vec!["its `weight` must be said"],
        ),
        (
            &here,
            "errors.example",
            "name: latency, type: A, set: errors-eu, value: 192.0.2.2",
            vec!["it has latency routing, which could not be put back"],
        ),
        (
            &here,
            "errors.example",
            "name: none, type: A, lower_ttl: 5s",
            vec!["it has no TTL to lower"],
        ),
        (
            &here,
            "errors.example",
            "name: simple, type: A, value: 192.0.2.2, at_most: 10%",
            vec![
                "1 of the 5 sets of records in errors.example at Route 53",
                "more than 10 %",
                "raise `at_most`",
            ],
        ),
    ] {
        let sandbox = Sandbox::with(&book_at(
            endpoint,
            zone,
            &format!(
                "phases: {{ p: {{ steps: {{ a: {{ dns: {{ zone: cloud, {step} }} }} }} }} }}\n"
            ),
        ));
        let shown = run(&sandbox, "run book.yaml");
        assert!(
            words.iter().all(|words| shown.contains(words))
                && shown.contains("p/a")
                && shown.ends_with("exit 1"),
            "{words:?}: {shown}"
        );
        assert!(shown.contains("nothing was changed") && !shown.contains(KEY), "{shown}");
        // Provably without effect, so there is nothing to undo or to ask.
        assert_eq!(run(&sandbox, "rollback").lines().last(), Some("exit 4"), "{words:?}");
    }
    assert_eq!(sets(&id).iter().filter(|set| set.contains("192.0.2.1<")).count(), 3);
}

pub fn weights(zone: &str) -> Vec<(String, u8)> {
    let of = |set: &str, key: &str| {
        between(set, &format!("<{key}>"), "<").first().map(|text| (*text).to_owned())
    };
    sets(zone)
        .iter()
        .filter_map(|set| Some((of(set, "SetIdentifier")?, of(set, "Weight")?.parse().unwrap())))
        .collect()
}

#[test]
fn traffic_is_moved_by_weights_and_comes_back_exactly() {
    let id = zone("weights.example");
    upsert(&id, "shop.weights.example", "A", &weighted("w-old", 180, 60, "192.0.2.1"));
    upsert(&id, "shop.weights.example", "A", &weighted("w-new", 20, 60, "192.0.2.2"));
    let of = |old: u8, new: u8| {
        let mut all = vec![("w-old".to_owned(), old), ("w-new".to_owned(), new)];
        all.sort_by_key(|(name, _)| std::cmp::Reverse(name.clone()));
        all
    };
    let now = || {
        let mut now = weights(&id);
        now.sort_by_key(|(name, _)| std::cmp::Reverse(name.clone()));
        now
    };
    let traffic = "traffic: { names: { dns: { zone: cloud, name: shop, type: A, from: w-old, to: w-new } } \
        }\n";
    let go = |shift: &str| {
        let phases = format!(
            "phases: {{ p: {{ steps: {{ go: {{ shift: {{ traffic: names, {shift} }} }} }} }} }}\n"
        );
        Sandbox::with(&book_at(&endpoint(), "weights.example", &format!("{traffic}{phases}")))
    };
    let sandbox = go("steps: { from: 10, times: 3 }, bake: 1s");
    let shown = run(&sandbox, "plan book.yaml");
    assert!(shown.contains("shift 10, 30, 90, 100 % of names from w-old to w-new"), "{shown}");
    let child = sandbox.start_heard("run book.yaml", &environment());
    let begun = Instant::now();
    while now() != of(70, 30) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", now());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(now(), of(0, 100));
    let shown = run(&sandbox, "rollback");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(now(), of(180, 20));
    let events = sandbox.run("audit --format json");
    assert!(!events.contains(KEY) && !events.contains(ID) && events.contains("w-new"), "{events}");
    // A bad reading on the way: it goes back to the last good weight.
    upsert(&id, "shop.weights.example", "A", &weighted("w-old", 170, 60, "192.0.2.1"));
    upsert(&id, "shop.weights.example", "A", &weighted("w-new", 15, 60, "192.0.2.2"));
    let sandbox = go("steps: [40, 60], bake: 500ms, back: last_good, analysis: \
        [{ name: seen, run: test ! -e bad && touch bad, success: exit_code == 0, every: 2s, initial_delay: 100ms \
        }]");
    let shown = run(&sandbox, "run book.yaml");
    assert!(
        shown.contains("names at 40 % on the new side: the analysis `seen` failed")
            && shown.contains("traffic is back at what it was"),
        "{shown}"
    );
    assert_eq!(now(), of(170, 15));
    // One of the two is not there.
    upsert(&id, "other.weights.example", "A", &weighted("w-alone", 1, 60, "192.0.2.1"));
    let shown = run(
        &Sandbox::with(
            &go("to: 5")
                .read("book.yaml")
                .replace("name: shop", "name: other")
                .replace("w-old", "w-alone"),
        ),
        "run book.yaml",
    );
    assert!(
        shown.contains("other.weights.example. A (w-new) is not in weights.example at Route 53")
            && shown.contains("make both sets first"),
        "{shown}"
    );
    assert!(shown.ends_with("exit 1"), "{shown}");
}

#[test]
fn what_cannot_be_meant_is_refused_before_the_run() {
    let sandbox = Sandbox::with(
        r#"
runbook: wrong
secrets: { id: { env: A }, key: { env: B } }
zones:
  cloud: { route53: { zone: example.test, access_key: { secret: id }, secret_key: { secret: key } } }
  here: { file: { path: x, zone: example.test } }
traffic:
  names: { dns: { zone: here, name: x, type: A, from: a, to: b } }
  cloud: { dns: { zone: cloud, name: x, type: A, from: a, to: b } }
phases:
  p:
    steps:
      a: { dns: { zone: cloud, name: x, type: A, set: a, value: 192.0.2.1, weight: 256 } }
      b: { dns: { zone: cloud, name: x, type: A, value: 192.0.2.1, weight: 25 } }
      c: { dns: { zone: here, name: x, type: A, set: a, value: 192.0.2.1 } }
      d: { dns: { zone: here, name: x, type: A, value: 192.0.2.1, records: [{ name: y, type: A, delete: true }] } }
      e: { dns: { zone: here, records: [] } }
      f: { dns: { zone: here, records: [{ name: y, delete: true }] } }
      g: { dns: { zone: here, records: [{ name: y, type: A, delete: true, at_most: 10% }] } }
      h: { dns: { zone: here, name: y, type: A, delete: true, at_most: 101% } }
      i: { shift: { traffic: names, to: 10 } }
      j: { shift: { traffic: cloud, steps: { times: 2 } } }
      k: { shift: { traffic: cloud, steps: { from: 60, by: 5, to: 50 } } }
      l: { shift: { traffic: cloud, steps: { from: 101, by: 5 } } }
"#,
    );
    let shown = sandbox.run("check book.yaml");
    for words in [
        "256 is out of range",
        "a weight belongs to the values of a set",
        "only zones at Route 53 have weighted sets",
        "either a name and a type, or records belong here",
        "a name and a type belong here",
        "at_most",
        "101%",
        "the records of the zone `here` have no weights",
        "steps that grow so many `times` need a first one, `from`",
        "the first step is 60 %, which is beyond the last one, 50 %",
        "101",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(shown.ends_with("exit 2"), "{shown}");
}
