//! Zones at Cloudflare, as a stand-in with its rules answers for it.

use serde_json::{Value as Json, json};

use super::cloudflare_api::{Mishap, StandIn, TOKEN, TOO_MANY};
use super::sandbox::Sandbox;

fn book(api: &StandIn, steps: &str) -> String {
    format!(
        "runbook: cloud
secrets: {{ token: {{ env: CLOUD_TOKEN }} }}
zones: {{ cloud: {{ cloudflare: {{ zone: example.test, token: {{ secret: token }}, endpoint: '{}' }} }} }}
phases:
  p:
    steps:
{steps}",
        api.endpoint()
    )
}

fn run(sandbox: &Sandbox, line: &str) -> String {
    sandbox.run_with(line, &[("CLOUD_TOKEN", TOKEN.to_owned())])
}

/// Somebody else's change, just before one that is no reading.
fn meanwhile(change: fn(&mut Vec<Json>)) -> Option<(&'static str, Mishap)> {
    Some(("POST", Mishap::Meanwhile(change)))
}

fn shop() -> Json {
    json!([
        {
            "id": "r1",
            "type": "A",
            "name": "shop.example.test",
            "content": "192.0.2.1",
            "ttl": 300,
            "proxied": false,
        },
    ])
}

/// A name server's records of some hosts, so many.
fn hosts(count: usize) -> Vec<Json> {
    let host = |at: usize| {
        json!({
            "id": format!("h{at}"),
            "type": "A",
            "name": format!("h{at}.example.test"),
            "content": "192.0.2.9",
            "ttl": 300,
            "proxied": false,
        })
    };
    (0..count).map(host).collect()
}

#[test]
fn cloudflare_keeps_its_flags_and_gets_its_records_back() {
    let before = json!([
        {
            "id": "r1",
            "type": "A",
            "name": "shop.example.test",
            "content": "192.0.2.1",
            "ttl": 1,
            "proxied": true,
            "comment": "of the team",
        },
        {
            "id": "r2",
            "type": "MX",
            "name": "example.test",
            "content": "mx.example.test",
            "priority": 10,
            "ttl": 300,
            "proxied": false,
        },
        {
            "id": "r3",
            "type": "TXT",
            "name": "shop.example.test",
            "content": "\"other\"",
            "ttl": 300,
            "proxied": false,
        },
    ]);
    let api = StandIn::begin(&before);
    let book = book(
        &api,
        "      point: { dns: { zone: cloud, name: shop, type: A, value: 192.0.2.2, expect: [192.0.2.1] } }
      mail: { dns: { zone: cloud, name: '@', type: MX, values: [10 mx.example.test, 20 mx2.example.test], ttl: 60s } }
      new: { dns: { zone: cloud, name: new, type: CNAME, value: shop.example.test, ttl: 60s, expect: [], at_most: 34% } }
      both: { dns: { zone: cloud, records: [{ name: new, type: CNAME, delete: true }, { name: shop, type: TXT, value: another }], at_most: 50% } }
",
    );
    let sandbox = Sandbox::with(&book);
    let shown = sandbox.run_with("run book.yaml", &[("CLOUD_TOKEN", "another-token".to_owned())]);
    assert!(
        shown.contains("403 Forbidden: Authentication error (10000)")
            && !shown.contains("another-token"),
        "{shown}"
    );
    let shown = run(&sandbox, "resume");
    assert!(shown.ends_with("exit 0"), "{shown}");
    let now = api.world().records.clone();
    assert_eq!(
        (&now[0]["content"], &now[0]["ttl"], &now[0]["proxied"], &now[0]["comment"]),
        (&"192.0.2.2".into(), &1.into(), &true.into(), &"of the team".into())
    );
    assert_eq!(now.len(), 4);
    let shown = run(&sandbox, "rollback");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(Json::from(api.world().records.clone()), before);
    // What somebody else changed is left alone.
    let sandbox = Sandbox::with(&book);
    assert!(run(&sandbox, "run book.yaml").ends_with("exit 0"));
    // Each change is one request that is no reading.
    assert_eq!(api.writes(), 12);
    api.world().records[0]["content"] = "192.0.2.77".into();
    let shown = run(&sandbox, "rollback");
    assert!(
        shown.contains("is not what this step wrote")
            && shown.contains("found: 192.0.2.77 (TTL 1s, proxied)"),
        "{shown}"
    );
}

#[test]
fn what_cloudflare_refuses_is_told_in_its_words_and_changes_nothing() {
    let point = "name: shop, type: A, value: 192.0.2.2";
    for (zone, step, mishap, words) in [
        ("example.org", point, None, "there is no zone example.org that this token may see"),
        // What is behind the first words says it.
        (
            "example.test",
            "name: shop, type: A, value: 192.0.2.2, ttl: 30s",
            None,
            "DNS Validation Error (1004): TTL must be between 60 and 86400 seconds, or 1 for \
             Automatic. (9021)",
        ),
        (
            "example.test",
            "name: shop, type: CNAME, value: other.example.test, ttl: 60s",
            None,
            "An A, AAAA, or CNAME record with that host already exists. (81053)",
        ),
        // Between the last reading and the change.
        (
            "example.test",
            point,
            meanwhile(|records| records.clear()),
            "404 Not Found: Record does not exist. (81044)",
        ),
        (
            "example.test",
            "name: shop, type: A, values: [192.0.2.1, 192.0.2.2]",
            meanwhile(|records| {
                records.push(records[0].clone());
                records[1]["id"] = "r2".into();
                records[1]["content"] = "192.0.2.2".into();
            }),
            "400 Bad Request: An identical record already exists. (81058)",
        ),
        (
            "example.test",
            point,
            Some(("GET", Mishap::Refused(TOO_MANY))),
            "429 Too Many Requests: Please wait and consider",
        ),
        (
            "example.test",
            point,
            Some(("GET", Mishap::RefusedAsWell(TOO_MANY))),
            "200 OK: Please wait and consider",
        ),
        ("example.test", point, Some(("GET", Mishap::CutAfter)), "/zones?name=example.test"),
        ("example.test", point, Some(("GET", Mishap::ClosedBefore)), "/zones?name=example.test"),
        (
            "example.test",
            point,
            Some(("POST", Mishap::Refused(TOO_MANY))),
            "429 Too Many Requests: Please wait and consider",
        ),
    ] {
        let api = StandIn::begin(&shop());
        api.world().mishaps.extend(mishap);
        let steps = format!("      a: {{ dns: {{ zone: cloud, {step} }} }}\n");
        let sandbox = Sandbox::with(
            &book(&api, &steps).replace("zone: example.test", &format!("zone: {zone}")),
        );
        let shown = run(&sandbox, "run book.yaml");
        assert!(
            shown.contains(words) && shown.contains("nothing was changed")
                || words.contains("no zone"),
            "{words}: {shown}"
        );
        assert!(
            shown.contains(words) && shown.contains("p/a") && shown.ends_with("exit 1"),
            "{words}: {shown}"
        );
        assert!(!shown.contains(TOKEN) && api.world().mishaps.is_empty(), "{words}: {shown}");
        assert!(
            !api.world()
                .records
                .iter()
                .any(|record| record["content"] == "192.0.2.2" && record["id"] == "r1"),
            "{words}"
        );
        // Provably without effect, so there is nothing to undo or to ask.
        assert_eq!(run(&sandbox, "rollback").lines().last(), Some("exit 4"), "{words}");
    }
}

#[test]
fn a_change_whose_answer_is_lost_is_read_back() {
    // Done: it is found. Not done: nobody says that it was, and another attempt makes it.
    for (mishap, is_done) in [
        (Mishap::CutAfter, true),
        (Mishap::ClosedBefore, false),
        (Mishap::RefusedAsWell(TOO_MANY), false),
    ] {
        let api = StandIn::begin(&shop());
        api.world().mishaps.push_back(("POST", mishap));
        let sandbox = Sandbox::with(&book(
            &api,
            "      a: { dns: { zone: cloud, name: shop, type: A, value: 192.0.2.2 } }\n",
        ));
        let shown = run(&sandbox, "run book.yaml");
        assert!(shown.ends_with("exit 0"), "{shown}");
        assert_eq!(
            shown.contains("unseen   p/a: POST ") && shown.contains("begin    p/a, attempt 2"),
            !is_done,
            "{shown}"
        );
        assert_eq!(
            (api.writes(), &api.world().records[0]["content"]),
            (if is_done { 1 } else { 2 }, &"192.0.2.2".into())
        );
        assert!(run(&sandbox, "rollback").ends_with("exit 4"));
        assert_eq!(Json::from(api.world().records.clone()), shop());
    }
}

#[test]
fn all_pages_are_read_however_short_the_api_makes_them() {
    let mut records = hosts(9);
    let value = |at: u8| {
        json!({
            "id": format!("m{at}"),
            "type": "A",
            "name": "many.example.test",
            "content": format!("192.0.2.{at}"),
            "ttl": 300,
            "proxied": false,
        })
    };
    records.extend((1..=3).map(value));
    let before = Json::from(records);
    let api = StandIn::begin(&before);
    api.world().page = 2;
    // The third value is on the second page of its name; the tenth of the sets on the sixth of the
    // zone.
    let step = |expect: &str| {
        format!(
            "      a: {{ dns: {{ zone: cloud, name: many, type: A, value: 192.0.2.4, expect: \
             [{expect}], at_most: 10% }} }}\n"
        )
    };
    let shown = run(&Sandbox::with(&book(&api, &step("192.0.2.1, 192.0.2.2"))), "run book.yaml");
    assert!(
        shown.contains("found: 192.0.2.1, 192.0.2.2, 192.0.2.3 (TTL 300s)")
            && shown.ends_with("exit 1"),
        "{shown}"
    );
    let sandbox = Sandbox::with(&book(&api, &step("192.0.2.1, 192.0.2.2, 192.0.2.3")));
    let shown = run(&sandbox, "run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    let left = |api: &StandIn| {
        api.world().records.iter().filter(|record| record["name"] == "many.example.test").count()
    };
    assert_eq!(left(&api), 1);
    let asked = api.world().requests.clone();
    assert!(
        asked
            .iter()
            .any(|request| request.contains("type=A&name=many.example.test&per_page=100&page=2")),
        "{asked:?}"
    );
    assert!(
        asked.iter().any(|request| request.ends_with("/dns_records?per_page=1000&page=6")),
        "{asked:?}"
    );
    assert!(run(&sandbox, "rollback").ends_with("exit 4"));
    let values = |records: &Json| {
        let many = records
            .as_array()
            .unwrap()
            .iter()
            .filter(|record| record["name"] == "many.example.test");
        let mut values: Vec<String> =
            many.map(|record| record["content"].as_str().unwrap().to_owned()).collect();
        values.sort();
        values
    };
    assert_eq!(values(&Json::from(api.world().records.clone())), values(&before));
}
