//! What cannot follow is refused, and changes nothing.

use std::sync::Arc;

use switchover::run::*;
use switchover::runbook::*;

use super::play::*;

fn ended(outcome: Outcome) -> Fact {
    Fact::RunEnded { outcome }
}

fn back(to: Option<usize>) -> Fact {
    Fact::RollbackBegan { to: to.map(id), because: "no".into(), actor: person(), force: false }
}

fn skip(step: usize, because: SkipReason) -> Fact {
    Fact::StepSkipped { step: id(step), because }
}

fn by_hand() -> SkipReason {
    SkipReason::Operator { actor: person(), reason: "later".into() }
}

fn started(step: &str, direction: Direction, attempt: u32) -> Fact {
    let (action, env) = (Box::new(Action::Join), Default::default());
    Fact::StepStarted(StepStarted {
        step: step.into(),
        direction,
        attempt,
        key: "k".into(),
        action,
        env,
    })
}

fn succeeded(step: usize, direction: Direction, attempt: u32) -> Fact {
    let (outputs, secrets, logs) = Default::default();
    Fact::StepSucceeded(StepSucceeded {
        step: id(step),
        direction,
        attempt,
        outputs,
        result: "ok".into(),
        secrets,
        logs,
    })
}

fn failed(step: usize, attempt: u32, kind: FailureKind) -> Fact {
    let (outputs, secrets, logs) = Default::default();
    let failure = Failure { kind, message: "no".into() };
    Fact::StepFailed(StepFailed {
        step: id(step),
        direction: FORWARD,
        attempt,
        failure,
        outputs,
        retry_at: None,
        secrets,
        logs,
    })
}

fn told() -> Fact {
    let (occasion, subject, channel, file) =
        ("finish".into(), "over".into(), "team".into(), "1.txt".into());
    Fact::MessageSent(MessageSent {
        occasion,
        phase: None,
        step: None,
        of: None,
        subject,
        to: Vec::new(),
        channel,
        file,
        digest: Digest::default(),
    })
}

fn two(edges: u32) -> Play {
    play(book(2, edges, |_| {}), None)
}

/// s1 needs s0, which holds until s1 is done.
fn held() -> Play {
    let hold = |book: &mut Runbook| {
        let release = Box::new(book.steps[0].act.clone());
        book.steps[0].hold = Some(Hold { until: StepIx(1), release, estimate: None });
    };
    play(book(2, 1, hold), None)
}

const OUTCOMES: [Outcome; 3] = [Outcome::Finished, Outcome::RolledBack, Outcome::Cancelled];

#[test]
fn a_run_ends_when_nothing_is_left_to_do() {
    let mut run = held();
    run.refuses(OUTCOMES.map(ended)).start(0, FORWARD).refuses(OUTCOMES.map(ended));
    run.ok(0, FORWARD).start(1, FORWARD).ok(1, FORWARD);
    // All is done, but the first step holds.
    run.refuses(OUTCOMES.map(ended));
    let mut cancelled = held();
    cancelled.start(0, FORWARD).ok(0, FORWARD).cancel().refuses(OUTCOMES.map(ended));
    cancelled
        .start(0, RELEASE)
        .refuses(OUTCOMES.map(ended))
        .ok(0, RELEASE)
        .refuses([Outcome::Finished, Outcome::RolledBack].map(ended));
    cancelled.fact(ended(Outcome::Cancelled)).refuses([
        back(None),
        Fact::RunResumed { operator: person(), until: None, still_running: Vec::new() },
    ]);
    run.start(0, RELEASE)
        .ok(0, RELEASE)
        .refuses([Outcome::RolledBack, Outcome::Cancelled].map(ended))
        .fact(ended(Outcome::Finished));
    // A run that is over can only be gone back from, and people are told of it.
    run.refuses([
        Fact::RunResumed { operator: person(), until: None, still_running: Vec::new() },
        ended(Outcome::Finished),
        skip(0, by_hand()),
    ])
    .fact(told());
    run.fact(back(None))
        .refuses(OUTCOMES.map(ended))
        .start(1, UNDO)
        .ok(1, UNDO)
        .refuses(OUTCOMES.map(ended));
    run.start(0, UNDO)
        .ok(0, UNDO)
        .refuses([Outcome::Finished, Outcome::Cancelled].map(ended))
        .fact(ended(Outcome::RolledBack));
    run.refuses([back(None)]);
    assert_eq!(run.attempt(back(None)).unwrap_err(), "there is nothing left to undo");
}

#[test]
fn who_cannot_go_back_further_is_told_of_the_point_in_between() {
    let mut run = play(book(2, 1, |book| book.steps[1].point_of_no_return = true), None);
    run.start(0, FORWARD).ok(0, FORWARD).fact(Fact::PointConfirmed {
        step: id(1),
        actor: person(),
        reason: "go".into(),
    });
    run.start(1, FORWARD).ok(1, FORWARD).fact(back(None)).fact(ended(Outcome::RolledBack));
    let why = run.attempt(back(None)).unwrap_err();
    assert_eq!(
        why,
        "there is nothing left to undo: what stays lies before a point of no return (--force \
         passes it)"
    );
    run.fact(Fact::RollbackBegan { to: None, because: "no".into(), actor: person(), force: true });
    assert_eq!(run.next(), begin(1, UNDO));
}

#[test]
fn a_rollback_that_still_holds_something_is_not_over() {
    let mut run = held();
    run.start(0, FORWARD).ok(0, FORWARD).fact(back(None));
    assert_eq!(run.next(), begin(0, RELEASE));
    run.refuses([started("p/s0", UNDO, 1)])
        .start(0, RELEASE)
        .ok(0, RELEASE)
        .start(0, UNDO)
        .ok(0, UNDO);
    assert_eq!(run.next(), Decision::End(Outcome::RolledBack));
}

#[test]
fn the_first_event_and_the_numbers_are_as_they_must_be() {
    let mut run = two(1);
    let event = |number, fact| Event { number, at: Moment(0), fact };
    let runbook = Arc::clone(&run.state.runbook);
    let first = Fact::RunStarted(run.state.started.clone());
    assert!(RunState::new(Arc::clone(&runbook), &event(2, first.clone())).is_err());
    assert!(RunState::new(runbook, &event(1, back(None))).is_err());
    for number in [0, 1, 3] {
        let refused = run.state.apply(&event(number, started("p/s0", FORWARD, 1))).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("event {number} (step_started of p/s0) cannot follow: the number after 1 is 2")
        );
    }
    run.refuses([first]);
}

#[test]
fn an_attempt_begins_in_its_turn() {
    let mut run = two(1);
    run.refuses([
        started("p/s9", FORWARD, 1),
        started("p/s0", FORWARD, 0),
        started("p/s0", FORWARD, 2),
        started("p/s1", FORWARD, 1),
    ]);
    run.refuses([started("p/s0", RELEASE, 1), started("p/s0", UNDO, 1)]);
    run.start(0, FORWARD)
        .refuses([started("p/s0", FORWARD, 2)])
        .ok(0, FORWARD)
        .refuses([started("p/s0", FORWARD, 2)]);
    run.start(1, FORWARD).resume().refuses([started("p/s1", FORWARD, 2)]).rollback();
    run.refuses([started("p/s0", UNDO, 1), started("p/s1", FORWARD, 2)]);
    assert_eq!(run.next(), begin(1, UNDO));
    let mut holds = held();
    holds
        .refuses([started("p/s0", RELEASE, 1)])
        .start(0, FORWARD)
        .rollback()
        .refuses([started("p/s0", UNDO, 1)]);
}

#[test]
fn an_attempt_ends_once_and_as_the_one_that_runs() {
    let mut run = two(0);
    run.refuses([succeeded(0, FORWARD, 1), failed(0, 1, FailureKind::Failed)]).start(0, FORWARD);
    run.refuses([
        succeeded(0, FORWARD, 2),
        failed(0, 2, FailureKind::Failed),
        succeeded(0, UNDO, 1),
    ]);
    let stop = |attempt| Fact::StopRequested {
        step: id(0),
        direction: FORWARD,
        attempt,
        because: StopReason::Timeout,
    };
    run.refuses([stop(2)]).fact(stop(1)).refuses([stop(1), succeeded(0, FORWARD, 1)]);
    run.fail(0, FORWARD, FailureKind::TimedOut, None)
        .refuses([failed(0, 1, FailureKind::Failed), stop(1)]);
    run.start(1, FORWARD)
        .ok(1, FORWARD)
        .refuses([succeeded(1, FORWARD, 1), failed(1, 1, FailureKind::BeforeEffect)]);
}

#[test]
fn what_cannot_be_rendered_fails_before_it_begins() {
    let mut run = two(0);
    run.fact(failed(0, 1, FailureKind::BeforeEffect)).start(1, FORWARD).ok(1, FORWARD);
    assert_eq!(run.next(), Decision::Stop(Stop::Failed { steps: ids(&[0]) }));
    assert!(!run.state.step(StepIx(0)).touched && run.state.attempts(StepIx(0), FORWARD) == 1);
}

#[test]
fn an_attempt_that_an_operator_stopped_is_in_doubt() {
    let mut run = two(0);
    run.start(0, FORWARD).start(1, FORWARD);
    run.fact(Fact::StopRequested {
        step: id(0),
        direction: FORWARD,
        attempt: 1,
        because: StopReason::Interrupt,
    });
    run.fail(0, FORWARD, FailureKind::Failed, None).fail(1, FORWARD, FailureKind::Lost, None);
    assert_eq!(run.next(), Decision::Stop(Stop::InDoubt { steps: ids(&[0, 1]) }));
}

#[test]
fn who_has_left_does_nothing_until_somebody_resumes() {
    let mut run = two(0);
    run.start(0, FORWARD)
        .refuses([Fact::RunStopped { because: Stop::Interrupted { signal: 2 } }])
        .ok(0, FORWARD);
    run.stop(Stop::Interrupted { signal: 2 })
        .refuses([started("p/s1", FORWARD, 1), failed(1, 1, FailureKind::BeforeEffect)]);
    run.resume();
    assert_eq!(run.next(), begin(1, FORWARD));
}

#[test]
fn a_step_is_skipped_for_a_reason_that_fits() {
    let condition = || SkipReason::Condition { condition: "false".into() };
    let mut run = two(1);
    run.refuses([skip(0, SkipReason::Tolerated), skip(1, condition())]).start(0, FORWARD);
    run.refuses([skip(0, by_hand()), skip(0, condition()), skip(0, SkipReason::Tolerated)])
        .ok(0, FORWARD)
        .refuses([skip(0, by_hand())]);
    run.start(1, FORWARD)
        .fail(1, FORWARD, FailureKind::Failed, None)
        .refuses([skip(1, condition())])
        .fact(skip(1, by_hand()));
    assert_eq!(run.next(), Decision::End(Outcome::Finished));
    assert_eq!(two(1).fact(skip(0, condition())).next(), begin(1, FORWARD));
    assert_eq!(
        two(0).fact(skip(0, by_hand())).rollback().refuses([skip(1, by_hand())]).next(),
        Decision::End(Outcome::RolledBack)
    );
    assert_eq!(
        two(1).start(0, FORWARD).resume().fact(skip(0, by_hand())).next(),
        begin(1, FORWARD)
    );
}

#[test]
fn a_run_goes_back_from_what_has_begun_once() {
    let mut run = two(1);
    run.refuses([back(Some(0)), back(Some(9))])
        .start(0, FORWARD)
        .ok(0, FORWARD)
        .start(1, FORWARD)
        .ok(1, FORWARD);
    run.fact(back(Some(0)));
    assert!(run.state.is_target(StepIx(1)) && !run.state.is_target(StepIx(0)));
    run.refuses([back(None), Fact::CancelBegan { because: "no".into(), actor: person() }]);
    run.start(1, UNDO)
        .ok(1, UNDO)
        .fact(ended(Outcome::RolledBack))
        .refuses([back(Some(0))])
        .fact(back(None));
    assert_eq!(run.next(), begin(0, UNDO));
}

#[test]
fn only_a_step_that_stands_alone_and_has_an_undo_is_done_in_part() {
    let mut bare = play(book(1, 0, |book| book.steps[0].undo = Undo::Unknown), None);
    bare.start(0, FORWARD).resume();
    assert!(bare.resolve(0, FORWARD, Verdict::Partial).is_err());
    let mut run = two(0);
    run.start(0, FORWARD).ok(0, FORWARD);
    assert!(run.resolve(0, FORWARD, Verdict::Partial).is_err());
    run.rollback().start(0, UNDO).resume();
    assert!(run.resolve(0, UNDO, Verdict::Partial).is_err());
    let mut again = held();
    again
        .start(0, FORWARD)
        .ok(0, FORWARD)
        .start(1, FORWARD)
        .fail(1, FORWARD, FailureKind::Failed, None)
        .start(0, RELEASE)
        .ok(0, RELEASE);
    again.stop(Stop::Failed { steps: ids(&[1]) }).resume().start(0, FORWARD).fail(
        0,
        FORWARD,
        FailureKind::Failed,
        None,
    );
    assert!(again.resolve(0, FORWARD, Verdict::Partial).is_err());
}

#[test]
fn a_run_is_amended_where_it_rests_going_forward() {
    let amendment = |runbook: Option<Runbook>| {
        let (definition, parameters) = Default::default();
        let (actor, reason, changes, runbook) =
            (person(), "better".into(), Vec::new(), runbook.map(Arc::new));
        Fact::RunAmended(RunAmended {
            definition,
            parameters,
            actor,
            reason,
            changes,
            missing: Vec::new(),
            voided: None,
            runbook,
        })
    };
    let wider = || Some(book(3, 0, |_| {}));
    let mut run = two(0);
    run.refuses([amendment(None)])
        .start(0, FORWARD)
        .refuses([amendment(wider())])
        .ok(0, FORWARD)
        .fact(amendment(wider()));
    assert_eq!((run.state.unsettled(), run.state.sets.ready.contains(&StepIx(0))), (2, false));
    run.refuses([amendment(Some(book(3, 0, |book| book.steps[0].point_of_no_return = true)))]);
    run.fact(Fact::StepSkipped { step: id(2), because: by_hand() })
        .refuses([amendment(Some(book(2, 0, |_| {})))]);
    assert_eq!(run.next(), begin(1, FORWARD));
    run.rollback().refuses([amendment(wider())]);
}

#[test]
fn a_word_is_for_a_point_that_waits_for_it() {
    let mut run = play(book(2, 1, |book| book.steps[1].point_of_no_return = true), None);
    let go = |step| Fact::PointConfirmed { step: id(step), actor: person(), reason: "go".into() };
    run.refuses([go(0)]).start(0, FORWARD).ok(0, FORWARD);
    assert_eq!(run.next(), Decision::Stop(Stop::Waiting { steps: ids(&[1]) }));
    run.limits.attended = true;
    assert_eq!(run.next(), wait(None));
    run.refuses([started("p/s1", FORWARD, 1)]).fact(go(1)).refuses([go(1)]);
    assert_eq!(run.next(), begin(1, FORWARD));
}
