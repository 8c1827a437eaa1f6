//! The DNS against BIND: what is there is put back exactly, what others changed is left alone, and
//! who does not answer is named.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use super::sandbox::{Sandbox, kill_all};
use super::servers::lab;

pub const KEY: &str = "bGFiLWtleS1mb3ItdGhlLWxhYi1vbmx5LTMyYnl0ZXM=";

fn book(steps: &str) -> String {
    lab().filled(&format!(
        "runbook: names
secrets: {{ dns: {{ env: DNS_KEY }} }}
zones: {{ lab: {{ rfc2136: {{ server: 127.0.0.1, port: PORT(dns-1), zone: example.test, key: {{ name: lab, secret: {{ secret: dns }} }} }} }} }}
phases:
  p:
    steps:
{steps}"
    ))
}

fn environment() -> [(&'static str, String); 1] {
    [("DNS_KEY", KEY.to_owned())]
}

fn run(sandbox: &Sandbox, line: &str) -> String {
    sandbox.run_with(line, &environment())
}

/// The answer of `dig` for a name below the zone, TTL included.
fn dig(server: &str, name: &str, kind: &str) -> String {
    let port = lab().port(server).to_string();
    let whole = format!("{name}.example.test");
    // A name that the zone delegates is no answer of its own.
    let section = if kind == "NS" { "+authority" } else { "+answer" };
    let arguments = [
        "+noall",
        section,
        "+tcp",
        "+time=2",
        "+tries=1",
        "-p",
        &port,
        "@127.0.0.1",
        whole.trim_start_matches('.'),
        kind,
    ];
    let output = Command::new("dig").args(arguments).output().expect("dig");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines.join("\n")
}

/// Changes the zone as somebody else would.
fn nsupdate(commands: &str) {
    let port = lab().port("dns-1");
    let mut child = Command::new("nsupdate")
        .args(["-y", &format!("hmac-sha256:lab:{KEY}")])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("nsupdate");
    write!(
        child.stdin.take().unwrap(),
        "server 127.0.0.1 {port}\nzone example.test\n{commands}\nsend\n"
    )
    .unwrap();
    assert!(child.wait().unwrap().success(), "{commands}");
}

#[test]
fn every_type_is_set_and_put_back_to_the_byte() {
    let all = [
        ("A", vec!["192.0.2.1", "192.0.2.2"], vec!["192.0.2.3"]),
        ("AAAA", vec!["2001:db8::1"], vec!["2001:db8::2", "2001:db8::3"]),
        (
            "TXT",
            vec![r#""first; \"quoted\"" "second""#],
            vec!["v=spf1 -all", r#""back\\slash \"" "\255""#],
        ),
        ("MX", vec!["10 mx.example.test."], vec!["5 mx1.example.org", "20 MX2.example.org."]),
        ("SRV", vec!["1 2 443 a.example.test."], vec!["3 4 8443 b.example.test"]),
        ("CAA", vec![r#"0 issue "ca.example.test""#], vec![r#"128 iodef "mailto:x@example.test""#]),
        ("NS", vec!["ns1.example.org."], vec!["ns2.example.org.", "ns3.example.org."]),
    ];
    let quoted = |values: &[&str]| serde_json::to_string(values).unwrap();
    let (mut steps, mut before) = (String::new(), Vec::new());
    for (kind, was, becomes) in &all {
        let name = format!("types-{}", kind.to_lowercase());
        let adds: Vec<String> = was
            .iter()
            .map(|value| format!("update add {name}.example.test 77 {kind} {value}"))
            .collect();
        nsupdate(&adds.join("\n"));
        before.push(dig("dns-1", &name, kind));
        steps.push_str(&format!(
            "      {name}: {{ dns: {{ zone: lab, name: {name}, type: {kind}, values: {}, ttl: \
             33s }} }}\n",
            quoted(becomes)
        ));
        steps.push_str(&format!(
            "      {name}-gone: {{ dns: {{ zone: lab, name: {name}, \
            type: {kind}, delete: true }} }}\n"
        ));
        steps.push_str(&format!(
            "      {name}-new: {{ dns: {{ zone: lab, name: {name}, type: {kind}, values: {}, ttl: \
             5s, expect: [] }} }}\n",
            quoted(becomes)
        ));
    }
    let sandbox = Sandbox::with(&book(&steps));
    let shown = run(&sandbox, "run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(
        dig("dns-1", "types-txt", "TXT"),
        "types-txt.example.test. 5 IN TXT \"back\\\\slash \\\"\" \"\\255\"\
         \ntypes-txt.example.test. 5 IN TXT \"v=spf1 -all\""
    );
    let shown = run(&sandbox, "rollback");
    assert!(shown.ends_with("exit 4"), "{shown}");
    for ((kind, ..), before) in all.iter().zip(before) {
        assert_eq!(dig("dns-1", &format!("types-{}", kind.to_lowercase()), kind), before);
    }
    assert!(!sandbox.run("audit --format json").contains(KEY));
}

#[test]
fn a_plan_says_what_changes_and_how_it_goes_back() {
    let sandbox = Sandbox::with(&book(
        "      a: { dns: { zone: lab, name: planned, type: A, value: 192.0.2.1, ttl: 60s } }\n",
    ));
    let shown = run(&sandbox, "plan book.yaml");
    assert!(
        shown.contains("set A of planned in example.test on 127.0.0.1:")
            && shown.contains("to 192.0.2.1 with a TTL of 1m"),
        "{shown}"
    );
    assert!(shown.contains("put A of planned in"), "{shown}");
}

#[test]
fn a_record_that_is_not_what_it_should_be_is_left_alone() {
    nsupdate(
        "update add other.example.test 60 A 192.0.2.9\
         \nupdate add alias.example.test 60 CNAME other",
    );
    for (step, words) in [
        (
            "{ zone: lab, name: other, type: A, value: 192.0.2.1, expect: [192.0.2.8] }",
            "the record other.example.test. A in example.test on 127.0.0.1:PORT(dns-1) is not what \
             was expected",
        ),
        ("{ zone: lab, name: other, type: A, value: 192.0.2.1, expect: [] }", "expected: nothing"),
        (
            "{ zone: lab, name: other, type: A, value: 192.0.2.1, expect: [192.0.2.8] }",
            "found: 192.0.2.9 (TTL 60s)",
        ),
        (
            "{ zone: lab, name: alias, type: A, value: 192.0.2.1, ttl: 60s }",
            "alias.example.test. is a CNAME (other.)",
        ),
        ("{ zone: lab, name: not-there, type: A, value: 192.0.2.1 }", "its `ttl` must be said"),
        ("{ zone: lab, name: not-there, type: A, lower_ttl: 1s }", "it has no TTL to lower"),
        (
            "{ zone: lab, name: other.example.org., type: A, delete: true }",
            "other.example.org. is not in the zone example.test.",
        ),
        (
            "{ zone: lab, name: other, type: A, value: 192.0.2.256 }",
            "`192.0.2.256` is no value of a record of type A",
        ),
        // A CNAME beside something else, which BIND passes over without a word.
        (
            "{ zone: lab, name: other, type: CNAME, value: x.example.test, ttl: 60s }",
            "was changed to x.example.test. (TTL 60s), and then it is nothing",
        ),
    ] {
        let sandbox = Sandbox::with(&book(&format!("      a: {{ dns: {step} }}\n")));
        let shown = run(&sandbox, "run book.yaml");
        assert!(
            shown.contains(&lab().filled(words)) && shown.ends_with("exit 1"),
            "{step}: {shown}"
        );
        assert_eq!(run(&sandbox, "rollback").lines().last(), Some("exit 4"), "{step}");
    }
    assert_eq!(dig("dns-1", "other", "A"), "other.example.test. 60 IN A 192.0.2.9");
}

#[test]
fn what_others_changed_meanwhile_is_neither_overwritten_nor_taken_back() {
    nsupdate("update add race.example.test 60 A 192.0.2.1");
    let sandbox = Sandbox::with(&book(
        "      a: { dns: { zone: lab, name: race, type: A, value: 192.0.2.2, ttl: 30s } }\
         \n      b: { run: \"false\", undo: none }\n",
    ));
    assert!(run(&sandbox, "run book.yaml").ends_with("exit 1"));
    assert_eq!(dig("dns-1", "race", "A"), "race.example.test. 30 IN A 192.0.2.2");
    nsupdate("update delete race.example.test A\nupdate add race.example.test 30 A 192.0.2.3");
    let shown = run(&sandbox, "rollback");
    assert!(
        shown.contains("is not what this step wrote")
            && shown.contains("expected: 192.0.2.2 (TTL 30s)"),
        "{shown}"
    );
    assert!(shown.contains("found: 192.0.2.3 (TTL 30s)") && !shown.ends_with("exit 4"), "{shown}");
    assert_eq!(dig("dns-1", "race", "A"), "race.example.test. 30 IN A 192.0.2.3");
    // Put right by hand, it goes back.
    nsupdate("update delete race.example.test A\nupdate add race.example.test 30 A 192.0.2.2");
    assert!(run(&sandbox, "rollback").ends_with("exit 4"));
    assert_eq!(dig("dns-1", "race", "A"), "race.example.test. 60 IN A 192.0.2.1");
}

#[test]
fn many_that_change_one_zone_at_once_do_not_hinder_each_other() {
    let steps: String = (0..8)
        .map(|at| {
            format!(
                "      s{at}: {{ dns: {{ zone: lab, name: many{at}, type: A, value: \
            192.0.2.{at}, ttl: 5s }}, needs: [] }}\n"
            )
        })
        .collect();
    let sandbox = Sandbox::with(&book(&steps));
    let shown = run(&sandbox, "run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    for at in 0..8 {
        assert_eq!(
            dig("dns-1", &format!("many{at}"), "A"),
            format!("many{at}.example.test. 5 IN A 192.0.2.{at}")
        );
    }
}

#[test]
fn killed_at_any_moment_it_ends_as_it_should_both_ways() {
    nsupdate("update add killed.example.test 60 A 192.0.2.100");
    let before = dig("dns-1", "killed", "A");
    let steps: String = (0..40)
        .map(|at| {
            format!(
                "      s{at}: {{ dns: {{ zone: lab, name: killed, type: A, value: \
            192.0.2.{at}, ttl: 2s }} }}\n"
            )
        })
        .collect();
    let sandbox = Sandbox::with(&book(&steps));
    for (begin, ends) in [("run book.yaml", "exit 0"), ("rollback", "exit 4")] {
        // A killed one may not even have written down what it was asked to do.
        let line = |round: u64| match (begin, sandbox.run("list").contains("names")) {
            ("rollback", _) if round.is_multiple_of(2) => "rollback",
            (_, true) => "resume",
            (_, false) => begin,
        };
        // How many it takes until it is over nobody knows; the first ones come before that can be.
        let mut kills = 0;
        for round in 0..12 {
            let child = sandbox.start_heard(line(round), &environment());
            std::thread::sleep(Duration::from_millis(
                10 + (round * 37 + std::process::id() as u64) % 50,
            ));
            if !kill_all(child) {
                break;
            }
            kills += 1;
        }
        assert!(kills >= 2, "only {kills} kills found something alive");
        let mut last = String::new();
        for round in 0..4 {
            last = run(&sandbox, line(round));
            if last.ends_with(ends) {
                break;
            }
        }
        assert!(last.ends_with(ends), "{last}");
        let state = sandbox.run("status");
        let is = dig("dns-1", "killed", "A");
        let wanted = if begin == "rollback" {
            before.clone()
        } else {
            "killed.example.test. 2 IN A 192.0.2.39".to_owned()
        };
        assert_eq!(is, wanted, "{last}\n{state}");
    }
}

#[test]
fn servers_and_keys_that_do_not_fit_are_named_and_nothing_is_changed() {
    let step =
        "      a: { dns: { zone: lab, name: refused, type: A, value: 192.0.2.1, ttl: 60s } }\n";
    let port = lab().port("dns-1").to_string();
    let wrong_key = data_encoding_of("another-key-for-the-lab-32-bytes");
    for (change, key, words) in [
        (
            ("name: lab,", "name: lab,"),
            wrong_key.as_str(),
            "its key lab. is another one (BADSIG); compare the secret with its configuration; \
             nothing was changed",
        ),
        (("key: { name: lab,", "key: { name: nobody,"), KEY, "it does not know the key nobody."),
        (("name: lab,", "name: lab,"), "not base64!", "the key lab is not base64"),
        ((port.as_str(), "1"), KEY, "127.0.0.1:1: it cannot be reached: Connection refused"),
        (
            ("zone: example.test", "zone: example.org"),
            KEY,
            "it answered REFUSED; is it the primary server of example.org., and may this key ask \
             it?",
        ),
    ] {
        let sandbox = Sandbox::with(&book(step).replace(change.0, change.1));
        let shown = sandbox.run_with("run book.yaml", &[("DNS_KEY", key.to_owned())]);
        assert!(
            shown.contains(words) && shown.ends_with("exit 1") && !shown.contains(key),
            "{words}: {shown}"
        );
        assert!(shown.contains("p/a") && shown.contains("nothing was changed"), "{words}: {shown}");
        assert_eq!(
            sandbox.run_with("rollback", &[("DNS_KEY", key.to_owned())]).lines().last(),
            Some("exit 4"),
            "{words}"
        );
    }
    assert_eq!(dig("dns-1", "refused", "A"), "");
}

fn data_encoding_of(text: &str) -> String {
    let output =
        Command::new("sh").args(["-c", &format!("printf %s '{text}' | base64")]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_lower_ttl_counts_when_the_old_one_has_run_out() {
    nsupdate("update add lower.example.test 3 A 192.0.2.1");
    let sandbox = Sandbox::with(&book(
        "      a: { dns: { zone: lab, name: lower, type: A, lower_ttl: 1s } }\
         \n      b: { dns: { zone: lab, name: lower, type: A, lower_ttl: 60s } }\n",
    ));
    let begun = Instant::now();
    let shown = run(&sandbox, "run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(dig("dns-1", "lower", "A"), "lower.example.test. 1 IN A 192.0.2.1");
    assert!(run(&sandbox, "rollback").ends_with("exit 4"));
    assert_eq!(dig("dns-1", "lower", "A"), "lower.example.test. 3 IN A 192.0.2.1");
}

#[test]
fn an_attempt_after_a_crash_keeps_to_what_the_first_one_found() {
    nsupdate(
        "update add crash.example.test 8 A 192.0.2.1\
         \nupdate add crash2.example.test 120 A 192.0.2.1",
    );
    // The first attempt has lowered the TTL, and is killed while it waits.
    let killed = |name: &str| {
        let sandbox = Sandbox::with(&book(&format!(
            "      a: {{ dns: {{ zone: lab, name: {name}, type: A, lower_ttl: 1s }} }}\n"
        )));
        let child = sandbox.start_heard("run book.yaml", &environment());
        let begun = Instant::now();
        while !dig("dns-1", name, "A").contains(" 1 IN A ") {
            assert!(begun.elapsed().as_secs() < 20);
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_secs(2));
        kill_all(child);
        sandbox
    };
    let (whole, other) = (killed("crash"), killed("crash2"));
    nsupdate("update delete crash2.example.test A\nupdate add crash2.example.test 1 A 192.0.2.7");
    let shown = run(&other, "resume");
    assert!(
        shown.contains("is not what this step found at first")
            && shown.contains("expected: 192.0.2.1 (TTL 120s)"),
        "{shown}"
    );
    assert!(shown.contains("found: 192.0.2.7 (TTL 1s)"), "{shown}");
    assert_eq!(dig("dns-1", "crash2", "A"), "crash2.example.test. 1 IN A 192.0.2.7");
    // What is as the first attempt left it is waited for, but not from the beginning.
    let begun = Instant::now();
    let shown = run(&whole, "resume");
    assert!(
        shown.contains("is 192.0.2.1 (TTL 1s) already") && shown.ends_with("exit 0"),
        "{shown}"
    );
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(run(&whole, "rollback").ends_with("exit 4"));
    assert_eq!(dig("dns-1", "crash", "A"), "crash.example.test. 8 IN A 192.0.2.1");
}

/// The way to BIND, on which something happens to the first update: `meanwhile` before it arrives,
/// and its answer may be lost.
fn way_to_bind(meanwhile: &'static str, loses_answer: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let message = |stream: &mut TcpStream| {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut bytes).unwrap();
        (length, bytes)
    };
    std::thread::spawn(move || {
        let mut is_first = true;
        for stream in listener.incoming() {
            let mut here = stream.unwrap();
            let (length, question) = message(&mut here);
            let is_update = (question[2] >> 3) & 15 == 5;
            if is_update && is_first && !meanwhile.is_empty() {
                nsupdate(meanwhile);
            }
            let mut there = TcpStream::connect(("127.0.0.1", lab().port("dns-1"))).unwrap();
            there.write_all(&[&length[..], &question].concat()).unwrap();
            let (length, answer) = message(&mut there);
            if !(is_update && is_first && loses_answer) {
                let _ = here.write_all(&[&length[..], &answer].concat());
            }
            is_first &= !is_update;
        }
    });
    port
}

#[test]
fn what_changes_between_reading_and_writing_is_noticed() {
    nsupdate("update add between.example.test 60 A 192.0.2.1");
    for (meanwhile, loses_answer, words, is) in [
        // Somebody else writes first: another value, or only another TTL.
        (
            "update delete between.example.test A\nupdate add between.example.test 60 A 192.0.2.5",
            false,
            "is not what was read a moment ago\n",
            "60 IN A 192.0.2.5",
        ),
        (
            "update add between.example.test 61 A 192.0.2.5",
            false,
            "found: 192.0.2.5 (TTL 61s)",
            "61 IN A 192.0.2.5",
        ),
        ("update delete between.example.test A", false, "found: nothing", ""),
        // Something else in the zone, which is nobody's business.
        (
            "update add between-other.example.test 60 A 192.0.2.6",
            false,
            "exit 0",
            "9 IN A 192.0.2.9",
        ),
        // The answer does not come, but what it would have said is read.
        ("update delete between.example.test A", true, "found: nothing", ""),
        ("", true, "exit 0", "9 IN A 192.0.2.9"),
    ] {
        let port = way_to_bind(meanwhile, loses_answer);
        let book = book(
            "      a: { dns: { zone: lab, name: between, type: A, value: 192.0.2.9, ttl: 9s } }\n",
        );
        let sandbox =
            Sandbox::with(&book.replace(&lab().port("dns-1").to_string(), &port.to_string()));
        let shown = run(&sandbox, "run book.yaml");
        let shown = if loses_answer && !shown.ends_with("exit 0") {
            run(&sandbox, "resume")
        } else {
            shown
        };
        assert!(shown.contains(words), "{meanwhile}: {shown}");
        assert_eq!(
            dig("dns-1", "between", "A"),
            if is.is_empty() { String::new() } else { format!("between.example.test. {is}") }
        );
        nsupdate(
            "update delete between.example.test A\nupdate add between.example.test 60 A 192.0.2.5",
        );
    }
}

/// A stand-in for a name server that is ill: it answers every question with SERVFAIL.
fn ill_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).unwrap();
            // Its header alone, as an answer with the code 2 and no records.
            let answer = [&[0, 12], &question[..2], &[0x80, 2, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
            let _ = stream.write_all(&answer);
        }
    });
    port
}

#[test]
fn a_failure_is_never_an_empty_answer() {
    let port = ill_server();
    let ill = book(
        "      a: { dns: { zone: lab, name: ill, type: A, value: 192.0.2.1, ttl: 5s, expect: [] } }\
         \n",
    );
    let shown = run(
        &Sandbox::with(&ill.replace(&lab().port("dns-1").to_string(), &port.to_string())),
        "run book.yaml",
    );
    assert!(
        shown.contains("could not be read")
            && shown.contains("its answer (SERVFAIL) is not signed"),
        "{shown}"
    );
    let asks = format!(
        "      a: {{ propagation: {{ servers: [\"127.0.0.1:{port}\"], name: ill.example.test, \
         type: A, values: [], every: 100ms, timeout: 1s }} }}\n"
    );
    let shown = run(&Sandbox::with(&book(&asks)), "run book.yaml");
    assert!(
        shown.contains(&format!("127.0.0.1:{port} does not say: it answered SERVFAIL"))
            && shown.ends_with("exit 1"),
        "{shown}"
    );
}

#[test]
fn what_cannot_be_meant_is_refused_before_the_run() {
    for (step, words) in [
        ("dns: { zone: lap, name: x, type: A, value: 192.0.2.1 }", "there is no zone `lap`"),
        (
            "dns: { zone: lab, name: x, type: A, value: 192.0.2.1, delete: true }",
            "exactly one of value, values, delete and lower_ttl",
        ),
        (
            "dns: { zone: lab, name: x, type: A }",
            "exactly one of value, values, delete and lower_ttl",
        ),
        (
            "dns: { zone: lab, name: x, type: A, value: 192.0.2.1, ttl: 1500ms }",
            "a TTL is a number of whole seconds",
        ),
        ("dns: { zone: lab, name: x, type: A, delete: true, ttl: 1s }", "a ttl belongs to values"),
        ("dns: { zone: lab, name: x, type: SPF, delete: true }", "`SPF` is not one of A, AAAA"),
        (
            "dns: { zone: lab, name: '{{ nobody }}', type: A, delete: true }",
            "the name `nobody` is not defined here",
        ),
        ("propagation: { name: x, type: A, values: [] }", "nobody is asked"),
    ] {
        let shown =
            Sandbox::with(&book(&format!("      a: {{ {step} }}\n"))).run("check book.yaml");
        assert!(shown.contains(words) && !shown.ends_with("exit 0"), "{step}: {shown}");
    }
}

#[test]
fn propagation_names_who_does_not_agree() {
    nsupdate("update add spread.example.test 60 A 192.0.2.1");
    let step = |servers: &str, values: &str| {
        format!(
            "      a: {{ propagation: {{ servers: [{servers}], name: spread.example.test, type: A, \
             values: [{values}], every: 200ms, stable: 2, timeout: 3s }} }}\n"
        )
    };
    let both = "\"127.0.0.1:PORT(dns-1)\", \"127.0.0.1:PORT(dns-2)\"";
    let sandbox = Sandbox::with(
        &lab().filled(&book(&step(both, "192.0.2.1").replace("timeout: 3s", "timeout: 30s"))),
    );
    let shown = run(&sandbox, "run book.yaml");
    assert!(
        shown.contains("all 2 agree on spread.example.test. A") && shown.ends_with("exit 0"),
        "{shown}"
    );
    for (servers, values, words) in [
        (
            both,
            "192.0.2.2",
            vec![
                "0 of 2 agree",
                "127.0.0.1:PORT(dns-2) still answers 192.0.2.1, which may be kept for 1m from then \
                 on",
            ],
        ),
        (both, "", vec!["0 of 2 agree"]),
        // Nobody listens there: as if that server were down.
        (
            "\"127.0.0.1:PORT(dns-1)\", \"127.0.0.1:1\"",
            "192.0.2.1",
            vec![
                "1 of 2 agree",
                "127.0.0.1:1 does not say: it cannot be reached: Connection refused",
            ],
        ),
    ] {
        let sandbox = Sandbox::with(&lab().filled(&book(&step(servers, values))));
        let shown = run(&sandbox, "run book.yaml");
        assert!(
            words.iter().all(|words| shown.contains(&lab().filled(words)))
                && shown.ends_with("exit 1"),
            "{words:?}: {shown}"
        );
    }
    // No such name, which is an answer; a zone that is not there, which is none.
    for (name, words) in [
        ("nowhere.example.test", "all 1 agree"),
        ("nowhere.example.org", "does not say: it answered REFUSED"),
    ] {
        let step = step("\"127.0.0.1:PORT(dns-1)\"", "").replace("spread.example.test", name);
        let shown = run(&Sandbox::with(&lab().filled(&book(&step))), "run book.yaml");
        assert!(shown.contains(words), "{shown}");
    }
    // The zone's own name servers are on the usual port, where nobody is in the lab.
    let step = step("", "192.0.2.1")
        .replace("servers: []", "zone: lab")
        .replace("spread.example.test", "spread");
    let shown = run(&Sandbox::with(&book(&step)), "run book.yaml");
    assert!(
        shown.contains("ns1.example.test does not say")
            && shown.contains("ns2.example.test does not say"),
        "{shown}"
    );
}

/// The second name server, also at the address that the zone says, on the first one's port.
pub fn second_server() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let listener = TcpListener::bind(("127.0.0.2", lab().port("dns-1"))).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut here = stream.unwrap();
                let mut there = TcpStream::connect(("127.0.0.1", lab().port("dns-2"))).unwrap();
                let (mut from, mut to) = (here.try_clone().unwrap(), there.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                std::thread::spawn(move || std::io::copy(&mut there, &mut here));
            }
        });
    });
}

#[test]
fn the_name_servers_are_those_that_the_zone_names() {
    second_server();
    nsupdate("update add named.example.test 60 A 192.0.2.1");
    let step = |zone: &str, name: &str, values: &str| {
        lab().filled(&format!(
            "      a: {{ propagation: {{ zone: {zone}, port: PORT(dns-1), name: {name}, type: A, \
             values: [{values}], every: 200ms, stable: 2, timeout: 3s }} }}\n"
        ))
    };
    let shown = run(
        &Sandbox::with(
            &book(&step("lab", "named", "192.0.2.1")).replace("timeout: 3s", "timeout: 30s"),
        ),
        "run book.yaml",
    );
    assert!(
        shown.contains("all 2 agree on named.example.test. A") && shown.ends_with("exit 0"),
        "{shown}"
    );
    let shown = run(&Sandbox::with(&book(&step("lab", "named", "192.0.2.2"))), "run book.yaml");
    for words in [
        "0 of 2 agree",
        "ns1.example.test still answers 192.0.2.1, which may be kept for 1m from then on",
        "; ns2.example.test still",
    ] {
        assert!(shown.contains(words) && shown.ends_with("exit 1"), "{words}: {shown}");
    }
    // One of its servers is not there.
    let spare =
        book(&step("lab", "shop", "192.0.2.10")).replace("zone: example.test", "zone: spare.test");
    let shown = run(&Sandbox::with(&spare), "run book.yaml");
    assert!(
        shown.contains(
            "1 of 2 agree on shop.spare.test. A; ns2.spare.test does not say: it cannot be reached"
        ),
        "{shown}"
    );
    assert!(shown.ends_with("exit 1"), "{shown}");
}

#[test]
fn a_resolver_says_for_how_long_it_keeps_the_old_answer() {
    nsupdate("update add kept.example.test 8 A 192.0.2.1");
    assert!(dig("resolver", "kept", "A").ends_with("IN A 192.0.2.1"));
    let kept = Instant::now();
    let step = lab().filled(
        "      new: { dns: { zone: lab, name: kept, type: A, value: 192.0.2.2 } }
      seen:
        propagation:
          servers: ['127.0.0.1:PORT(dns-1)']
          resolvers: ['127.0.0.1:PORT(resolver)']
          name: kept.example.test
          type: A
          values: [192.0.2.2]
          every: 200ms
          stable: 3
          timeout: 1s
",
    );
    let sandbox = Sandbox::with(&book(&step));
    let shown = run(&sandbox, "run book.yaml");
    let words =
        lab().filled(r"127\.0\.0\.1:PORT(resolver) still answers 192\.0\.2\.1, for [1-8]s at most");
    let found = regex::Regex::new(&words).unwrap().captures(&shown);
    assert!(
        found.is_some()
            && shown.contains("1 of 2 agree on kept.example.test. A")
            && shown.ends_with("exit 1"),
        "{shown}"
    );
    let shown =
        run(&Sandbox::with(&book(&step).replace("timeout: 1s", "timeout: 1m")), "run book.yaml");
    assert!(
        shown.contains("all 2 agree on kept.example.test. A") && shown.ends_with("exit 0"),
        "{shown}"
    );
    assert!(
        kept.elapsed() >= Duration::from_secs(7),
        "the resolver had the old answer for its whole TTL: {:?}",
        kept.elapsed()
    );
}

#[test]
fn several_records_are_changed_at_once_or_not_at_all() {
    nsupdate(
        "update add many-a.example.test 60 A 192.0.2.1\nupdate add many-b.example.test 61 TXT old\
         \nupdate add many-c.example.test 62 MX 10 mx.example.test.",
    );
    let all = || {
        ["many-a A", "many-b TXT", "many-c MX", "many-d AAAA"]
            .map(|one| one.split_once(' ').unwrap())
            .map(|(name, kind)| dig("dns-1", name, kind))
    };
    let before = all();
    let step = |more: &str| {
        book(&format!(
            "      a:
        dns:
          zone: lab
          records:
            - {{ name: many-a, type: A, values: [192.0.2.2, 192.0.2.3], ttl: 2s }}
            - {{ name: many-b, type: TXT, lower_ttl: 1s{more} }}
            - {{ name: many-c, type: MX, delete: true, expect: [10 mx.example.test] }}
            - {{ name: many-d, type: AAAA, value: '2001:db8::1', ttl: 5s }}
        expect: was[3] == null && is[1].ttl == 1 && is[2] == null
        timeout: 2s
        on_failure: continue
"
        ))
    };
    let refused = Sandbox::with(&step(", expect: [new]"));
    let shown = run(&refused, "run book.yaml");
    assert!(
        shown.contains("the record many-b.example.test. TXT in")
            && shown.contains("is not what was expected"),
        "{shown}"
    );
    assert_eq!(all(), before);
    // Between the reading and the writing one of them becomes another.
    let port = way_to_bind(
        "update delete many-b.example.test TXT\nupdate add many-b.example.test 61 TXT other",
        false,
    );
    let sandbox =
        Sandbox::with(&step("").replace(&lab().port("dns-1").to_string(), &port.to_string()));
    let shown = run(&sandbox, "run book.yaml");
    assert!(
        shown.contains("the record many-b.example.test. TXT in")
            && shown.contains("is not what was read a moment ago"),
        "{shown}"
    );
    nsupdate("update delete many-b.example.test TXT\nupdate add many-b.example.test 61 TXT old");
    assert_eq!(all(), before);
    let serial = dig("dns-1", "", "SOA");
    let sandbox = Sandbox::with(
        &step("")
            .replace("timeout: 2s", "timeout: 10s")
            .replace("lower_ttl: 1s", "value: old, ttl: 1s"),
    );
    let shown = run(&sandbox, "run book.yaml");
    assert!(
        shown.contains("many-d.example.test. AAAA is 2001:db8::1 (TTL 5s)")
            && shown.ends_with("exit 0"),
        "{shown}"
    );
    assert_ne!(all(), before);
    assert_ne!(dig("dns-1", "", "SOA"), serial);
    let shown = run(&sandbox, "rollback");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(all(), before);
}

#[test]
fn a_change_of_more_than_the_declared_share_of_a_zone_is_refused() {
    // A zone of this test alone, in a file; and the lab's, which has many more records.
    let zone = "$TTL 300\n@ SOA ns1 admin ( 41 60 30 3600 5 )\n@ NS ns1\nns1 A 127.0.0.1\
        \na 60 A 192.0.2.1\nb 60 A 192.0.2.1\n";
    let sandbox = Sandbox::with(
        "runbook: file
zones: { here: { file: { path: shop.zone, zone: example.test } } }
phases:
  p:
    steps:
      few: { dns: { zone: here, at_most: 40%, records: [{ name: a, type: A, value: 192.0.2.2 }, { name: b, type: A, value: 192.0.2.2 }] } }
      same: { dns: { zone: here, at_most: 0%, name: a, type: A, value: 192.0.2.2 } }
      many:
        dns:
          zone: here
          at_most: 50%
          records: [{ name: a, type: A, delete: true }, { name: b, type: A, delete: true }, { name: ns1, type: A, delete: true }]
",
    );
    sandbox.write("shop.zone", zone);
    let shown = sandbox.run("run book.yaml");
    assert!(
        shown.contains(
            "FAILED   p/many: 3 of the 5 sets of records in example.test in \
        shop.zone would be changed"
        ),
        "{shown}"
    );
    assert!(
        shown.contains(
            "which is more than 50 %\n           | nothing was changed; if it is \
        meant so, raise `at_most`"
        ),
        "{shown}"
    );
    assert_eq!(
        sandbox.read("shop.zone"),
        zone.replace("192.0.2.1", "192.0.2.2").replace("( 41", "( 42")
    );
    assert!(sandbox.run("rollback").ends_with("exit 4"));
    assert_eq!(sandbox.read("shop.zone"), zone.replace("( 41", "( 43"));
    for (share, is_good) in [("100%", true), ("0%", false)] {
        let step = format!(
            "      a: {{ dns: {{ zone: lab, name: share, type: A, value: 192.0.2.1, ttl: 5s, \
             at_most: {share} }} }}\n"
        );
        let shown = run(&Sandbox::with(&book(&step)), "run book.yaml");
        assert_eq!(shown.ends_with("exit 0"), is_good, "{shown}");
        assert!(
            is_good
                || shown.contains("1 of the ")
                || shown.contains("is 192.0.2.1 (TTL 5s) already"),
            "{shown}"
        );
        nsupdate("update delete share.example.test A");
    }
    // Without a transfer nothing is known of the zone's size.
    let step = "      \
        a: { dns: { zone: lab, name: share, type: A, value: 192.0.2.1, ttl: 5s, at_most: 5% } }\n";
    let sandbox =
        Sandbox::with(&book(step).replace("zone: example.test, key", "zone: closed.test, key"));
    let shown = run(&sandbox, "run book.yaml");
    assert!(
        shown.contains("the records of closed.test. could not be counted: 127.0.0.1:"),
        "{shown}"
    );
    assert!(
        shown.contains("the server must allow the key a transfer (AXFR)")
            && shown.ends_with("exit 1"),
        "{shown}"
    );
}

#[test]
fn an_authoritative_server_that_goes_down_is_named() {
    nsupdate("update add down.example.test 60 A 192.0.2.1");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let servers = format!("servers: ['127.0.0.1:{}', '127.0.0.1:{port}']", lab().port("dns-1"));
    let asks = |timeout: &str| {
        book(&format!(
            "      a: {{ propagation: {{ {servers}, name: down.example.test, type: A, values: \
             [192.0.2.1], every: 200ms, stable: 2, timeout: {timeout} }} }}\n"
        ))
    };
    let sandbox = Sandbox::with(&asks("30s"));
    // A third authoritative server, of this test alone.
    let config = lab().filled(&format!(
        "key lab {{ algorithm hmac-sha256; secret \"{KEY}\"; }};
options {{ directory \"{}\"; pid-file none; session-keyfile none; lock-file none; recursion no; dnssec-validation no;
  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; }};
controls {{ }};
zone example.test {{ type secondary; primaries {{ 127.0.0.1 port PORT(dns-1) key lab; }}; }};\n",
        sandbox.path("").display()
    ));
    sandbox.write("named.conf", config);
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let mut named = Command::new("env")
        .args([&format!("PATH={path}"), "named", "-f", "-4", "-n", "1", "-c"])
        .arg(sandbox.path("named.conf"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("named");
    let shown = run(&sandbox, "run book.yaml");
    named.kill().unwrap();
    named.wait().unwrap();
    assert!(shown.contains("all 2 agree") && shown.ends_with("exit 0"), "{shown}");
    let shown = run(&Sandbox::with(&asks("2s")), "run book.yaml");
    assert!(
        shown.contains(&format!(
            "1 of 2 agree on down.example.test. A; 127.0.0.1:{port} does not \
            say: it cannot be reached"
        )),
        "{shown}"
    );
    assert!(!shown.contains("exit 0"), "{shown}");
}

#[test]
fn a_zone_file_is_changed_and_its_server_told() {
    let zone = "$TTL 300\n@ SOA ns1 admin ( 41 60 30 3600 5 ) ; the serial\n@ NS ns1\
        \nns1 A 127.0.0.1\nshop 60 A 192.0.2.1 ; old\n";
    let sandbox = Sandbox::with(
        "runbook: file
zones: { here: { file: { path: shop.zone, zone: example.test, reload: [sh, -c, 'echo again >> reloads'] } } }
phases:
  p:
    steps:
      point: { dns: { zone: here, name: shop, type: A, value: 192.0.2.2, ttl: 30s, expect: [192.0.2.1] } }
      new: { dns: { zone: here, name: new, type: TXT, value: hello, ttl: 30s } }
",
    );
    sandbox.write("shop.zone", zone);
    let shown = sandbox.run("run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    let changed =
        zone.replace("( 41", "( 43").replace("shop 60 A 192.0.2.1", "shop 30 A 192.0.2.2");
    assert_eq!(
        sandbox.read("shop.zone"),
        format!("{changed}new.example.test.\t30\tIN\tTXT\t\"hello\"\n")
    );
    assert_eq!(sandbox.read("reloads"), "again\nagain\n");
    assert!(sandbox.run("rollback").ends_with("exit 4"));
    assert_eq!(sandbox.read("shop.zone"), zone.replace("( 41", "( 45"));
    // A reload that fails is the step's failure, and is done again by the next attempt.
    sandbox.write(
        "book.yaml",
        sandbox.read("book.yaml").replace("echo again >> reloads", "echo no; test -e ready"),
    );
    let shown = sandbox.run("run book.yaml");
    assert!(
        shown.contains("is written, but") && shown.contains("no") && shown.ends_with("exit 1"),
        "{shown}"
    );
    sandbox.write("ready", "");
    assert!(sandbox.run("resume").ends_with("exit 0"));
    // What it says is masked, and where it was begun is known.
    let book = sandbox
        .read("book.yaml")
        .replace("echo no; test -e ready", "echo $TOKEN >&2; exit 3")
        .replace(
            "runbook: file",
            "runbook: file\nsecrets: { token: { env: RELOAD_TOKEN } }\
            \nenv: { TOKEN: { secret: token } }",
        );
    sandbox.write(
        "book.yaml",
        book.replace("192.0.2.2", "192.0.2.3").replace(", expect: [192.0.2.1]", ""),
    );
    let shown =
        sandbox.run_with("run book.yaml", &[("RELOAD_TOKEN", "only-for-the-reload".to_owned())]);
    assert!(
        shown.contains("shop.zone is written, but its server was not told: `sh -c")
            && shown.contains("ended with exit 3"),
        "{shown}"
    );
    assert!(!shown.contains("only-for-the-reload") && shown.ends_with("exit 1"), "{shown}");
    assert!(!sandbox.run("audit --format json").contains("only-for-the-reload"));
}

/// The executor is killed while the server reads the zone anew: the next attempt finds the file
/// written, and has it read again.
#[test]
fn a_reload_outlives_its_executor() {
    let sandbox = Sandbox::with(
        "runbook: file
zones: { here: { file: { path: shop.zone, zone: example.test, reload: [sh, -c, 'echo begun >> reloads; while ! test -e go; do sleep 0.1; done; echo done >> reloads'] } } }
phases:
  p:
    steps:
      point: { dns: { zone: here, name: shop, type: A, value: 192.0.2.2, ttl: 30s } }
",
    );
    let zone = "$TTL 300\n@ SOA ns1 admin ( 41 60 30 3600 5 )\n@ NS ns1\nns1 A 127.0.0.1\
        \nshop 60 A 192.0.2.1\n";
    sandbox.write("shop.zone", zone);
    let child = sandbox.start("run book.yaml");
    let begun = Instant::now();
    while !sandbox.path("reloads").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    super::sandbox::kill(child);
    sandbox.write("go", "");
    let shown = sandbox.run("resume");
    assert!(
        shown.contains("shop.example.test. A is 192.0.2.2 (TTL 30s) already")
            && shown.ends_with("exit 0"),
        "{shown}"
    );
    let reloads = sandbox.read("reloads");
    assert_eq!(
        (reloads.matches("begun").count(), reloads.matches("done").count()),
        (2, 2),
        "{reloads}"
    );
    assert!(sandbox.run("rollback").ends_with("exit 4"));
    assert_eq!(sandbox.read("shop.zone"), zone.replace("( 41", "( 43"));
}
