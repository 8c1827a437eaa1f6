//! What holds for every kind of action.

use std::collections::BTreeSet;
use std::convert::Infallible;

use serde_json::{Value as Json, json};

use super::{Action, ByItself, DoneBy, Inverse, Parts, RawAction, WORDS, Walk};
use crate::runbook::Text;

fn every_kind() -> Vec<Action<Text>> {
    let secret = json!({ "secret": { "name": "s", "prefix": "", "as": "value" } });
    let server = json!({ "postgres": {
        "host": "{{ text }}", "port": "1", "database": "d", "user": "u", "password": secret,
        "encryption": { "tls": { "ca": "{{ text }}" } },
    } });
    let zone = json!({ "route53": {
        "zone": "{{ text }}", "id": "i", "access_key": secret, "secret_key": secret,
        "session_token": secret, "endpoint": "e",
    } });
    let probe = json!({ "run": { "command": { "arguments": ["{{ text }}", "b"] }, "cwd": "c" } });
    let read = json!({ "http": {
        "method": "GET", "url": "http://h/", "headers": { "A": { "text": "{{ text }}" } },
        "body": { "json": { "map": { "k": { "plain": 1 }, "l": { "list": [{ "plain": 2 }] } } } },
        "tls": { "key": "k" }, "follow": "any", "keep_output": 5,
    } });
    let analysis = json!([
        { "name": "n", "source": { "read": read }, "success": "status == 200", "every": 1000,
          "initial_delay": 0, "failure_limit": 1 },
        { "name": "m", "source": { "prometheus": {
            "url": "http://p/", "headers": { "B": secret }, "tls": { "cert": "c" }, "query": "q",
            "baseline": "{{ text }}",
          } }, "failure": "value > 1", "every": 1000, "initial_delay": 0, "failure_limit": 0 },
    ]);
    let sql = |reads: bool| {
        json!({ "sql": {
        "database": server, "attach": { "a": "{{ text }}" }, "text": "select 1", "reads": reads,
        "parameters": { "p": { "plain": "x" } },
        "given": { "g": { "secret": secret }, "h": { "query": {
            "database": "f", "text": "select 2", "reads": true, "transaction": false,
        } } },
        "transaction": true, "keep_output": 7,
    } })
    };
    let copy = |verify_only: bool| {
        json!({ "copy": {
        "from": server, "to": "file", "tables": { "t": { "into": "u" } }, "chunk": 3,
        "parallel": 2, "verify": true, "verify_only": verify_only, "sequence_margin": 9,
        "throttle": { "probe": probe, "until": "stdout == ''", "every": 1000 },
    } })
    };
    let shift = |traffic: Json| {
        json!({ "shift": {
        "name": "n", "traffic": traffic, "steps": [5, 100], "bake": 1000, "analysis": analysis,
        "back": "last_good",
    } })
    };
    let all = json!([
        { "run": { "command": { "script": { "shell": ["sh"], "script": "true" } }, "stdin": "i",
          "keep_output": 5 } },
        probe, sql(true), sql(false), read,
        { "http": { "method": "POST", "url": "http://h/", "body": { "text": "{{ text }}" } } },
        copy(true), copy(false),
        { "dns": { "zone": zone, "at_most": 5, "records": [
            { "name": "{{ text }}", "type": "A", "set": "s", "expect": ["1.2.3.4"],
              "change": { "set": { "values": ["1.2.3.5"], "ttl": 1000, "weight": 3 } } },
            { "name": "n", "type": "A", "change": "delete" },
            { "name": "n", "type": "MX", "change": { "lower_ttl": 1000 } },
        ] } },
        { "dns": { "zone": { "file": { "path": "p", "zone": "z", "reload": ["r"] } },
          "records": [] } },
        { "propagation": { "zone": { "cloudflare": { "zone": "z", "token": secret,
            "endpoint": "e" } }, "servers": ["{{ text }}"], "port": "53", "resolvers": ["r"],
          "name": "n", "type": "A", "values": ["v"], "every": 1000, "stable": 2 } },
        { "wait": { "for": "{{ text }}" } },
        { "wait": { "until": { "until": "true", "probe": probe, "every": 1000, "stable": 3 } } },
        shift(json!({ "haproxy": { "socket": "s", "backend": "b", "from": "f", "to": "t" } })),
        shift(json!({ "nginx": { "file": "f", "from": "f", "to": "t", "test": ["t"],
            "reload": ["r"] } })),
        shift(json!({ "dns": { "zone": zone, "name": "n", "type": "A", "from": "f", "to": "t" } })),
        shift(json!({ "run": { "set": ["s"], "get": ["{{ text }}"] } })),
        { "notify": { "content": { "template": "t" }, "to": ["{{ text }}"] } },
        { "notify": { "content": { "words": { "subject": "s", "body": "b" } } } },
        { "task": { "instructions": "{{ text }}", "fields": {} } },
        { "approve": { "question": "q" } },
        "join",
    ]);
    serde_json::from_value(all).unwrap()
}

#[test]
fn there_is_one_of_every_kind() {
    let kinds: Vec<&str> = every_kind().iter().map(Action::kind).collect();
    for word in WORDS {
        assert!(kinds.contains(&word), "there is no {word}");
    }
    let written = schemars::schema_for!(RawAction).to_value();
    let keys: BTreeSet<&str> =
        written["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let words = WORDS.into_iter().filter(|word| *word != "runbook").collect();
    assert_eq!(keys, words);
}

/// Leaves every text as it is.
struct Same;

impl<'a> Walk<'a, Text> for Same {
    type Text = Text;
    type Error = Infallible;

    fn text(&mut self, text: &'a Text) -> Result<Text, Infallible> {
        Ok(text.clone())
    }
}

#[test]
fn a_walk_keeps_everything() {
    for action in every_kind() {
        let Ok(same) = action.try_map(&mut Same);
        assert_eq!(same, action);
    }
}

#[test]
fn a_walk_comes_by_every_text_condition_secret_and_template() {
    for action in every_kind() {
        let written = json!(action).to_string();
        let Parts { texts, conditions, secrets, templates } = action.parts();
        let dynamic = texts.iter().filter(|text| text.is_dynamic()).count();
        assert_eq!(dynamic, written.matches("{{ text }}").count(), "{written}");
        assert_eq!(secrets.len(), written.matches("\"name\":\"s\",\"prefix\"").count());
        assert_eq!(templates.len(), written.matches("\"template\"").count());
        let keys = ["\"until\":\"", "\"success\":\"", "\"failure\":\""];
        let written = keys.iter().map(|key| written.matches(key).count()).sum::<usize>();
        assert_eq!(conditions.len(), written);
    }
}

#[test]
fn facts_agree_with_each_other() {
    for action in every_kind() {
        let (facts, kind) = (action.facts(), action.kind());
        if facts.only_reads {
            assert!(facts.is_idempotent && facts.inverse == Inverse::Nothing, "{kind}");
        } else {
            assert_ne!(facts.dry_run.by_itself, ByItself::CarriesOut, "{kind}");
        }
        if facts.inverse == Inverse::BuiltIn {
            let inverse = action.inverse().unwrap();
            assert!(inverse.takes_back() && !action.takes_back(), "{kind}");
            assert_eq!(inverse.kind(), kind);
        }
        assert_eq!(action.question().is_some(), facts.done_by.is_a_person(), "{kind}");
        if facts.done_by != DoneBy::Program {
            assert!(!facts.can_be_a_reading && !facts.may_hang && !facts.has_logs, "{kind}");
        }
    }
}
