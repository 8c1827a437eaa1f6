//! What a state takes and refuses, where the laws try it only in passing.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::run::event::{Digest, Fact, StepSucceeded, Verdict};
use crate::runbook::Action;

const FORWARD: Direction = Direction::Forward;

/// Two steps, one behind the other, and each with an undo.
fn book() -> Arc<Runbook> {
    let act = json!({
        "action": { "run": { "command": { "script": { "shell": ["sh"], "script": "" } } } },
        "idempotent": false,
    });
    let step = |id: &str, needs: &[u32]| {
        let undo = json!({ "act": act });
        json!({
            "id": id,
            "line": 1,
            "file": "book.yaml",
            "phase": 0,
            "scope": 0,
            "needs": needs,
            "act": act,
            "undo": undo,
        })
    };
    let book = json!({
        "name": "r",
        "file": "book.yaml",
        "locks": [],
        "scopes": [{ "parameters": {} }],
        "occasions": { "start": "words" },
        "templates": { "words": { "subject": "", "body": "" } },
        "phases": [{ "id": "p", "messages": {} }],
        "groups": [],
        "steps": [step("p/a", &[]), step("p/b", &[0])],
    });
    Arc::new(serde_json::from_value::<Runbook>(book).unwrap().with_index())
}

/// A run that has begun.
fn begun() -> RunState {
    let book = book();
    let started = RunStarted::of(&book, "r", Person("p".to_owned()));
    let first = Event { number: 1, at: Moment(1), fact: Fact::RunStarted(started) };
    RunState::new(book, &first).unwrap()
}

fn apply(state: &mut RunState, fact: Fact) -> Result<(), Refusal> {
    let number = state.head + 1;
    let event = Event { number, at: Moment(number as i64), fact };
    state.apply(&event).map_err(|illegal| illegal.why)
}

fn start(step: &str, attempt: u32) -> Fact {
    Fact::StepStarted(StepStarted {
        step: step.into(),
        direction: FORWARD,
        attempt,
        key: "k".to_owned(),
        action: Box::new(Action::Join),
        env: BTreeMap::new(),
    })
}

fn succeed(step: &str) -> Fact {
    Fact::StepSucceeded(StepSucceeded {
        step: step.into(),
        direction: FORWARD,
        attempt: 1,
        outputs: Outputs::new(),
        result: "ok".to_owned(),
        secrets: BTreeMap::from([("token".to_owned(), "digest".to_owned())]),
        logs: Vec::new(),
    })
}

fn cursor(attempt: u32) -> Fact {
    let (step, cursor) = ("p/a".into(), "7".to_owned());
    Fact::CursorSaved { step, direction: FORWARD, attempt, cursor }
}

fn resume() -> Fact {
    let operator = Person("p".to_owned());
    Fact::RunResumed { operator, until: None, still_running: Vec::new() }
}

#[test]
fn a_cursor_is_one_of_the_last_attempt() {
    let mut state = begun();
    assert_eq!(apply(&mut state, cursor(1)), Err(Refusal::NotTheLastAttempt), "nothing began");
    apply(&mut state, start("p/a", 1)).unwrap();
    for attempt in [0, 2] {
        assert_eq!(apply(&mut state, cursor(attempt)), Err(Refusal::NotTheLastAttempt));
    }
    apply(&mut state, cursor(1)).unwrap();
    // Nobody saw how it ended, and what it left is read before another one begins.
    apply(&mut state, resume()).unwrap();
    apply(&mut state, cursor(1)).unwrap();
    apply(&mut state, resolve(Verdict::NotDone)).unwrap();
    apply(&mut state, cursor(1)).unwrap();
    apply(&mut state, start("p/a", 2)).unwrap();
    assert_eq!(apply(&mut state, cursor(1)), Err(Refusal::NotTheLastAttempt));
    assert_eq!(state.cursor(StepIx(0), FORWARD), Some("7"));
    apply(&mut state, cursor(2)).unwrap();
}

#[test]
fn what_ended_well_goes_on_from_nowhere() {
    let mut state = begun();
    apply(&mut state, start("p/a", 1)).unwrap();
    apply(&mut state, succeed("p/a")).unwrap();
    assert_eq!(apply(&mut state, cursor(1)), Err(Refusal::NotTheLastAttempt));
}

fn resolve(verdict: Verdict) -> Fact {
    Fact::StepResolved(StepResolved {
        step: "p/a".into(),
        direction: FORWARD,
        verdict,
        actor: Person("p".to_owned()),
        reason: "seen".to_owned(),
        outputs: Outputs::new(),
    })
}

#[test]
fn who_is_refused_has_vouched_for_nothing() {
    let mut state = begun();
    apply(&mut state, start("p/a", 1)).unwrap();
    let refused = apply(&mut state, resolve(Verdict::Done));
    assert_eq!(refused, Err(Refusal::NothingToResolve("running")));
    assert!(!state.is_vouched(StepIx(0), FORWARD));
    apply(&mut state, resume()).unwrap();
    apply(&mut state, resolve(Verdict::Done)).unwrap();
    assert!(state.is_vouched(StepIx(0), FORWARD));
}

#[test]
fn an_amendment_that_changes_nothing_loses_nothing() {
    let mut state = begun();
    for fact in [start("p/a", 1), cursor(1), succeed("p/a"), start("p/b", 1), resume()] {
        apply(&mut state, fact).unwrap();
    }
    let before = state.clone();
    let amended = RunAmended {
        definition: Digest::default(),
        parameters: Digest::default(),
        actor: Person("p".to_owned()),
        reason: "why".to_owned(),
        changes: Vec::new(),
        missing: Vec::new(),
        voided: Some(Vec::new()),
        runbook: Some(Arc::clone(&state.runbook)),
    };
    apply(&mut state, Fact::RunAmended(amended)).unwrap();
    assert!(!state.secrets.is_empty() && !state.notices.owed.is_empty());
    let RunState { head, last, .. } = before;
    let after = RunState { head, last, ..state };
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
}
