//! Runs that do not carry everything out: what may follow in them, and what may not.

use switchover::run::*;
use switchover::runbook::*;

use super::play::*;

/// Of three steps, each needs the one before.
const CHAIN: u32 = 0b101;

fn foreseen(step: usize, verdict: Foreseen) -> Fact {
    Fact::StepForeseen(StepForeseen {
        step: id(step),
        attempt: 1,
        verdict,
        words: "it would".into(),
        logs: Vec::new(),
    })
}

fn rehearsed() -> Fact {
    Fact::Rehearsed(Rehearsed { seed: 1, finished: true, mishaps: 3, stuck: 0, all: true })
}

#[test]
fn what_a_dry_run_foresees_stands_in_nobodys_way_and_has_touched_nothing() {
    let mut play =
        play_for(Purpose::DryRun, book(3, CHAIN, |book| book.steps[1].point_of_no_return = true));
    play.fact(foreseen(0, Foreseen::Would));
    assert_eq!(play.next(), begin(1, FORWARD), "nobody is asked at a point of no return");
    play.start(1, FORWARD);
    play.fact(foreseen(1, Foreseen::Refused));
    assert_eq!(play.state.step(StepIx(1)).word(), "refused");
    assert_eq!(play.next(), begin(2, FORWARD), "what would be refused hides nothing behind it");
    assert!(play.attempt(foreseen(1, Foreseen::Would)).is_err(), "it is foreseen once");
    play.start(2, FORWARD).ok(2, FORWARD);
    assert!(play.state.steps.iter().all(|step| !step.touched));
    assert_eq!(play.next(), Decision::End(Outcome::Finished));
}

#[test]
fn a_dry_run_is_never_anything_else() {
    let refused = |fact: Fact| {
        let mut play = play_for(Purpose::DryRun, book(2, 0, |_| {}));
        play.start(0, FORWARD);
        assert!(play.attempt(fact.clone()).is_err(), "{fact:?}");
    };
    refused(Fact::RunResumed { operator: person(), until: None, still_running: Vec::new() });
    refused(Fact::RollbackBegan { to: None, because: "no".into(), actor: person(), force: false });
    refused(Fact::CancelBegan { because: "no".into(), actor: person() });
    let (actor, reason) = (person(), String::new());
    refused(Fact::StepSkipped { step: id(0), because: SkipReason::LiveTest });
    refused(Fact::PointConfirmed { step: id(0), actor: actor.clone(), reason: reason.clone() });
    let (direction, verdict, outputs) = (FORWARD, Verdict::Done, Default::default());
    refused(Fact::StepResolved(StepResolved {
        step: id(0),
        direction,
        verdict,
        actor,
        reason,
        outputs,
    }));
    let (outputs, secrets, logs) = Default::default();
    let failure = Failure { kind: FailureKind::Failed, message: "no".into() };
    refused(Fact::StepFailed(StepFailed {
        step: id(0),
        direction,
        attempt: 1,
        failure,
        outputs,
        retry_at: None,
        secrets,
        logs,
    }));
    refused(rehearsed());
}

#[test]
fn only_what_a_live_test_suppresses_is_foreseen_and_only_what_it_leaves_out_is_skipped() {
    let mark = |book: &mut Runbook| {
        let steps = &mut book.steps;
        steps[0].live_test = Some(LiveTest::Suppress);
        steps[1].live_test = Some(LiveTest::Skip);
        steps[2].live_test = Some(LiveTest::Invert);
    };
    let mut play = play_for(Purpose::LiveTest, book(3, CHAIN, mark));
    play.fact(foreseen(0, Foreseen::Would));
    play.fact(Fact::StepSkipped { step: id(1), because: SkipReason::LiveTest });
    assert!(play.attempt(foreseen(2, Foreseen::Would)).is_err(), "this one is to be carried out");
    play.start(2, FORWARD).ok(2, FORWARD).rollback();
    assert_eq!(play.next(), begin(2, UNDO), "what was carried out is taken back");
    play.start(2, UNDO).ok(2, UNDO);
    while let Decision::Pass(ix) = play.next() {
        play.fact(Fact::UndoPassed { step: id(ix.0 as usize) });
    }
    assert_eq!(play.next(), Decision::End(Outcome::RolledBack), "and nothing else");

    let mut real = play_for(Purpose::Real, book(3, CHAIN, mark));
    assert!(real.attempt(foreseen(0, Foreseen::Would)).is_err());
    assert!(
        real.attempt(Fact::StepSkipped { step: id(0), because: SkipReason::LiveTest }).is_err()
    );
}

#[test]
fn a_rehearsal_is_what_it_found_and_nothing_else() {
    let mut play = play_for(Purpose::Rehearsal, book(1, 0, |_| {}));
    assert!(play.attempt(foreseen(0, Foreseen::Would)).is_err(), "nothing is foreseen in it");
    assert!(play.attempt(Fact::RunEnded { outcome: Outcome::Cancelled }).is_err());
    play.fact(rehearsed());
    assert!(play.attempt(rehearsed()).is_err(), "it is one rehearsal");
}

#[test]
fn an_override_comes_before_everything_else() {
    let overridden = || Fact::Overridden {
        missing: vec!["a rehearsal".into()],
        actor: person(),
        reason: "outage".into(),
    };
    let mut play = play_for(Purpose::Real, book(1, 0, |_| {}));
    play.fact(overridden()).start(0, FORWARD);
    assert!(play.attempt(overridden()).is_err());
}
