//! What a rehearsal says is held against real servers: the order of what happens, and where each
//! failure ends.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use super::dns::KEY;
use super::sandbox::Sandbox;
use super::servers::{lab, web};
use super::shop::Shop;

/// What happens to steps, and what people are told, in order, until the run stops.
fn order<'a>(events: impl Iterator<Item = &'a Json>) -> Vec<String> {
    let told = ["step_started", "step_succeeded", "step_skipped", "message_sent"];
    let words = |event: &Json| {
        format!(
            "{} {}",
            event["event"].as_str().unwrap_or_default(),
            event["step"].as_str().unwrap_or_default()
        )
    };
    let events = events.take_while(|event| event["event"] != "run_stopped");
    events
        .filter(|event| told.contains(&event["event"].as_str().unwrap_or_default()))
        .map(words)
        .collect()
}

#[test]
fn the_move_of_a_database_goes_as_it_was_rehearsed() {
    let shop = Shop::open("rehearsed_shop", 2000);
    let words = shop.words(1).replace("--parallel 8", "--parallel 1");
    let rehearse = format!(
        "{} --runs 0 --no-mishaps --format json",
        words.replacen("run ", "rehearse ", 1).replace("--yes ", "")
    );
    let rehearsed = shop.sandbox.json(&rehearse);
    let dry = shop.sandbox.run_with(&format!("{words} --dry-run"), &Shop::environment());
    assert!(dry.contains("nothing would be refused") && dry.ends_with("exit 0"), "{dry}");
    let shown = shop.sandbox.run_with(&words, &Shop::environment());
    assert!(shown.ends_with("exit 3"), "{shown}");
    let log = shop.sandbox.json("audit --format json")["log"].clone();
    let real = order(log.as_array().unwrap().iter().map(|entry| &entry["event"]));
    let expected = order(rehearsed["timeline"].as_array().unwrap().iter());
    assert!(real.len() > 60, "{real:#?}");
    assert_eq!(expected[..real.len()], real);
    assert!(
        shop.sandbox.run_with("rollback --parallel 8", &Shop::environment()).ends_with("exit 4")
    );
}

const BOOK: &str = "runbook: small
secrets: { shop: { env: SHOP_PASSWORD }, dns: { env: DNS_KEY } }
databases: { db: { postgres: { host: 127.0.0.1, port: PORT(postgres-old), database: small, user: shop, password: { secret: shop } } } }
zones: { lab: { rfc2136: { server: 127.0.0.1, port: PORT(dns-1), zone: example.test, key: { name: lab, secret: { secret: dns } } } } }
traffic: { web: { haproxy: { socket: LAB/haproxy/socket, backend: web, from: old, to: new } } }
phases:
  p:
    steps:
      look: { sql: { database: db, query: SELECT count(*) FROM orders }, expect: 'rows[0][0] == 3', estimate: 1s }
      mark: { sql: { database: db, statement: UPDATE orders SET moved = true }, undo: { sql: { database: db, statement: UPDATE back SET n = n + 1 }, estimate: 1s }, estimate: 1s }
      name: { dns: { zone: lab, name: small, type: A, value: 192.0.2.20, ttl: 60s, expect: [192.0.2.10] }, estimate: 1s }
      traffic: { shift: { traffic: web, steps: [50, 100], bake: 50ms }, on_failure: rollback, estimate: 1s }
";

fn environment() -> [(&'static str, String); 2] {
    [("SHOP_PASSWORD", "lab-shop".to_owned()), ("DNS_KEY", KEY.to_owned())]
}

fn haproxy(command: &str) {
    let mut socket = UnixStream::connect(lab().path("haproxy/socket")).unwrap();
    socket.write_all(format!("{command}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.trim(), "", "{command}");
}

/// The name has this address, whatever it had.
fn point_to(address: &str) {
    let mut child = Command::new("nsupdate")
        .args(["-y", &format!("hmac-sha256:lab:{KEY}")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let commands = format!(
        "update delete small.example.test A\nupdate add small.example.test 300 A {address}"
    );
    write!(
        child.stdin.take().unwrap(),
        "server 127.0.0.1 {}\nzone example.test\n{commands}\nsend\n",
        lab().port("dns-1")
    )
    .unwrap();
    assert!(child.wait().unwrap().success());
}

fn psql(statements: &str) {
    lab().psql("postgres-old", "small", statements);
}

/// Everything as it is before the run.
fn prepare() {
    lab().fresh("postgres-old", "small");
    for statement in [
        "CREATE TABLE orders (id int PRIMARY KEY, moved bool)",
        "INSERT INTO orders SELECT g FROM generate_series(1, 3) g",
        "CREATE TABLE back (n int)",
        "ALTER TABLE orders OWNER TO shop",
        "ALTER TABLE back OWNER TO shop",
    ] {
        psql(statement);
    }
    point_to("192.0.2.10");
    haproxy("set server web/new state ready; set weight web/old 100; set weight web/new 0");
}

#[test]
fn every_failure_that_is_made_on_real_servers_ends_as_rehearsed() {
    let _web = web();
    let book = lab().filled(BOOK);
    let rehearsed = Sandbox::with(&book).json("rehearse book.yaml --runs 0 --format json");
    let (mut tried, mut wrong) = (0, Vec::new());
    for case in rehearsed["cases"].as_array().unwrap() {
        let (mishap, step) =
            (case["mishap"]["mishap"].as_str().unwrap(), case["mishap"]["step"].as_str().unwrap());
        prepare();
        let fail = || match step {
            "p/look" => psql("DELETE FROM orders"),
            "p/mark" => psql("ALTER TABLE orders DROP COLUMN moved"),
            "p/name" => point_to("192.0.2.99"),
            _ => haproxy("set server web/new state maint"),
        };
        let fail_to_undo = || match step {
            "p/mark" => psql("DROP TABLE back"),
            "p/name" => point_to("192.0.2.99"),
            _ => haproxy("set weight web/new 77"),
        };
        let sandbox = Sandbox::with(&book);
        let code = match mishap {
            "fails" => {
                fail();
                sandbox.code_with("run book.yaml", &environment())
            }
            "undo_fails" => {
                assert_eq!(sandbox.code_with("run book.yaml", &environment()), 0, "{step}");
                fail_to_undo();
                1
            }
            _ => continue,
        };
        tried += 1;
        // The operator of a rehearsal goes back from whatever has stopped.
        let code = if code == 1 { sandbox.code_with("rollback", &environment()) } else { code };
        let ends = match code {
            4 => "rolled_back",
            5 => "stuck",
            _ => "something else",
        };
        if case["ends"] != ends {
            wrong.push(format!(
                "{mishap} {step}: rehearsed {}, but it {ends}: {}",
                case["ends"],
                sandbox.run("status")
            ));
        }
    }
    prepare();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(tried, 7);
}
