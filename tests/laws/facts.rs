//! What facts look like: in the journal, to people, to scripts.

use serde_json::json;
use switchover::run::*;
use switchover::runbook::action::Argument;
use switchover::runbook::parameter::Kind;
use switchover::runbook::raw::ParameterKind;
use switchover::runbook::traffic::Says;
use switchover::runbook::{
    Condition, Item, OnBreach, Parameter, Read, Runbook, Source, Span, StepIx, Text, When,
};

use super::play::{FORWARD, book, id, ids, person, play};

#[test]
fn a_moment_is_utc_to_the_millisecond_and_never_goes_back() {
    assert_eq!(Moment(1_500).to_string(), "1970-01-01T00:00:01.500Z");
    assert_eq!(serde_json::to_value(Moment(1_500)).unwrap(), json!("1970-01-01T00:00:01.500Z"));
    assert_eq!(
        serde_json::from_value::<Moment>(json!("1970-01-01T01:00:01.500+01:00")).unwrap(),
        Moment(1_500)
    );
    assert_eq!(Moment(30).since(Moment(10)), Span::from_millis(20));
    assert_eq!(Moment(10).since(Moment(30)), Span::ZERO);
}

#[test]
fn why_a_step_is_skipped_is_said_in_words() {
    let words = |because: SkipReason| because.to_string();
    assert_eq!(
        words(SkipReason::Condition { condition: "a > 1".into() }),
        "its condition does not hold: a > 1"
    );
    assert_eq!(words(SkipReason::Tolerated), "it failed, and the runbook goes on without it");
    assert_eq!(
        words(SkipReason::Operator { actor: person(), reason: "later".into() }),
        "skipped by p: later"
    );
}

#[test]
fn exit_codes_tell_a_script_why() {
    let steps = || ids(&[0]);
    for (stop, code) in [
        (Stop::Failed { steps: steps() }, 1),
        (Stop::Waiting { steps: steps() }, 3),
        (Stop::InDoubt { steps: steps() }, 3),
        (Stop::Stuck { steps: steps() }, 5),
        (Stop::Breached { because: vec!["why".into()] }, 3),
        (Stop::Until { step: id(0) }, 0),
        (Stop::Interrupted { signal: 15 }, 143),
        (Stop::Unwitnessed { why: "why".into() }, 6),
    ] {
        assert_eq!(stop.exit_code(), code, "{stop:?}");
    }
    assert_eq!(
        [Outcome::Finished, Outcome::RolledBack, Outcome::Cancelled].map(Outcome::exit_code),
        [0, 4, 1]
    );
}

/// One fact of each kind that needs little, and the step it is about.
fn facts() -> Vec<(Fact, bool)> {
    use switchover::runbook::Direction::Forward as direction;
    let (step, attempt, actor, reason) = (|| id(0), 1, person, || String::from("why"));
    vec![
        (Fact::RunResumed { operator: actor(), until: None, still_running: Vec::new() }, false),
        (Fact::RunStopped { because: Stop::Until { step: step() } }, false),
        (Fact::RunEnded { outcome: Outcome::Finished }, false),
        (Fact::RollbackBegan { to: None, because: reason(), actor: actor(), force: false }, false),
        (Fact::CancelBegan { because: reason(), actor: actor() }, false),
        (
            Fact::StopRequested { step: step(), direction, attempt, because: StopReason::Timeout },
            true,
        ),
        (Fact::StepSkipped { step: step(), because: SkipReason::Tolerated }, true),
        (Fact::UndoPassed { step: step() }, true),
        (
            Fact::StepProbed {
                step: step(),
                direction,
                attempt,
                verdict: Probed::Done,
                reading: reason(),
            },
            true,
        ),
        (Fact::PointConfirmed { step: step(), actor: actor(), reason: reason() }, true),
        (Fact::RunAmended(amended("why")), false),
        (
            Fact::AnalysisRead {
                step: step(),
                attempt,
                analysis: reason(),
                percent: 25,
                says: Says::Good,
                reading: reason(),
            },
            true,
        ),
        (Fact::GuardRead { guard: reason(), says: Says::Bad, reading: reason() }, false),
        (Fact::GuardForeseen { guard: reason(), verdict: Foreseen::Refused }, false),
        (Fact::Breached(breach(OnBreach::Pause)), false),
        (Fact::MessageSent(sent()), true),
        (Fact::CursorSaved { step: step(), direction, attempt, cursor: "7".into() }, true),
        (Fact::StepSaw { step: step(), direction, attempt, seen: 7.into() }, true),
    ]
}

pub fn breach(then: OnBreach) -> Breach {
    Breach {
        of: Watched::Budget { budget: Budgeted::Downtime, expected: false },
        reading: "3m of 2m".into(),
        then,
    }
}

fn sent() -> MessageSent {
    let (occasion, subject, channel, file) =
        ("notify".into(), "now".into(), "team".into(), "1.txt".into());
    MessageSent {
        occasion,
        phase: None,
        step: Some(id(0)),
        of: None,
        subject,
        to: Vec::new(),
        channel,
        file,
        digest: Digest::default(),
    }
}

fn amended(reason: &str) -> RunAmended {
    let digest = Digest::default;
    RunAmended {
        definition: digest(),
        parameters: digest(),
        actor: person(),
        reason: reason.into(),
        changes: Vec::new(),
        missing: Vec::new(),
        voided: None,
        runbook: None,
    }
}

#[test]
fn the_name_of_a_kind_is_the_one_in_the_journal() {
    for (fact, is_about_a_step) in facts() {
        let stored = serde_json::to_value(&fact).unwrap();
        assert_eq!(stored["event"], kind(&fact));
        assert_eq!(fact.step().is_some(), is_about_a_step, "{fact:?}");
        assert_eq!(serde_json::from_value::<Fact>(stored).unwrap(), fact);
    }
}

#[test]
fn a_rollback_says_that_it_is_forced_and_nothing_if_it_is_not() {
    let fact =
        |force| Fact::RollbackBegan { to: None, because: "no".into(), actor: person(), force };
    assert_eq!(serde_json::to_value(fact(false)).unwrap().get("force"), None);
    assert_eq!(serde_json::to_value(fact(true)).unwrap()["force"], json!(true));
}

#[test]
fn an_amendment_is_told_from_another() {
    assert_eq!(amended("why"), amended("why"));
    assert_ne!(amended("why"), amended("because"));
}

#[test]
fn a_step_sees_the_run_what_it_reads_and_its_item() {
    let change = |book: &mut Runbook| {
        book.steps[1].item = Some(Item { key: "k".into(), value: json!(7) });
        book.steps[1].reads = vec![Read { name: "first".into(), of: Source::Step(StepIx(0)) }];
    };
    let mut play = play(book(2, 1, change), None);
    let (secrets, logs) = Default::default();
    let outputs = [("rows".to_owned(), json!(3))].into_iter().collect();
    let done = StepSucceeded {
        step: id(0),
        direction: FORWARD,
        attempt: 1,
        outputs,
        result: "ok".into(),
        secrets,
        logs,
    };
    play.start(0, FORWARD).fact(Fact::StepSucceeded(done));
    let run = json!({
        "id": "r",
        "name": "r",
        "operator": "p",
        "environment": "",
        "started": "1970-01-01T00:00:00.000Z",
    });
    let seen = json!({
        "steps": { "first": { "rows": 3 } },
        "item": 7,
        "key": "k",
        "run": run.clone(),
        "outputs": {},
        "attempt": 1,
    });
    assert_eq!(names::of_step(&play.state, StepIx(1), FORWARD), seen);
    assert_eq!(names::of_step(&play.state, StepIx(0), FORWARD)["outputs"], json!({ "rows": 3 }));
    assert_eq!(names::of_step(&play.state, StepIx(0), FORWARD)["attempt"], json!(2));
    let when = When {
        condition: Condition::compile("true").unwrap(),
        scope: 0,
        reads: Vec::new(),
        item: None,
    };
    assert_eq!(names::of_when(&play.state, &when), json!({ "steps": {}, "run": run }));
}

#[test]
fn a_value_that_is_made_of_others_is_made_when_it_is_asked_for() {
    let parameter = |value| Parameter {
        kind: Kind {
            kind: ParameterKind::String,
            allowed: None,
            pattern: None,
            description: None,
            required: false,
        },
        value,
    };
    let change = |book: &mut Runbook| {
        let parameters = &mut book.scopes[0].parameters;
        parameters.insert("plain".into(), parameter(Argument::Plain(json!("x"))));
        parameters.insert(
            "late".into(),
            parameter(Argument::Text(Text::compile("{{run.id}}-1").unwrap())),
        );
        parameters.insert(
            "unknown".into(),
            parameter(Argument::Text(Text::compile("{{steps.none.rows}}").unwrap())),
        );
    };
    let names = names::of_step(&play(book(1, 0, change), None).state, StepIx(0), FORWARD);
    assert_eq!(
        (&names["plain"], &names["late"], names.get("unknown")),
        (&json!("x"), &json!("r-1"), None)
    );
}
