//! Single moves of the planner and the state: groups, limits, retries, probes, questions,
//! cancellation, downtime.

use switchover::run::*;
use switchover::runbook::action::Approve;
use switchover::runbook::traffic::Says;
use switchover::runbook::*;

use super::play::*;

fn grouped(steps: usize, max_parallel: Option<u32>, max_failures: u32) -> Play {
    let group = Group { id: "p/s".into(), max_parallel, max_failures };
    let change = |book: &mut Runbook| {
        book.groups.push(group);
        book.steps.iter_mut().for_each(|step| step.group = Some(0));
    };
    play(book(steps, 0, change), None)
}

fn held() -> Play {
    // s1 needs s0, which holds until s1 is done.
    let hold = |book: &mut Runbook| {
        let release = Box::new(book.steps[0].act.clone());
        book.steps[0].hold = Some(Hold { until: StepIx(1), release, estimate: None });
    };
    play(book(2, 1, hold), None)
}

#[test]
fn a_group_does_so_much_at_once_both_ways() {
    let mut play = grouped(3, Some(1), 0);
    assert_eq!(play.next(), begin(0, FORWARD));
    assert_eq!(play.start(0, FORWARD).next(), wait(None));
    assert_eq!(play.ok(0, FORWARD).next(), begin(1, FORWARD));
    play.start(1, FORWARD).ok(1, FORWARD).rollback();
    assert_eq!(play.next(), begin(1, UNDO));
    assert_eq!(play.start(1, UNDO).next(), wait(None));
    assert_eq!(play.ok(1, UNDO).next(), begin(0, UNDO));

    let mut wide = grouped(3, Some(2), 0);
    assert_eq!(wide.start(0, FORWARD).next(), begin(1, FORWARD));
    assert_eq!(wide.start(1, FORWARD).next(), wait(None));
    wide.ok(0, FORWARD).ok(1, FORWARD).rollback().start(1, UNDO);
    assert_eq!(wide.next(), begin(0, UNDO));
    let mut free = grouped(3, None, 0);
    assert_eq!(free.start(0, FORWARD).start(1, FORWARD).next(), begin(2, FORWARD));
    free.limits.parallel = 2;
    assert_eq!(free.next(), wait(None));
    free.ok(0, FORWARD).ok(1, FORWARD).rollback().limits.parallel = 1;
    assert_eq!(free.start(1, UNDO).next(), wait(None));
}

#[test]
fn a_group_tolerates_so_many_failures_and_no_refusal() {
    let mut play = grouped(3, None, 1);
    play.start(0, FORWARD).start(1, FORWARD).start(2, FORWARD).fail(
        0,
        FORWARD,
        FailureKind::Failed,
        None,
    );
    assert_eq!(play.next(), Decision::Skip(StepIx(0), SkipReason::Tolerated));
    play.fact(Fact::StepSkipped { step: id(0), because: SkipReason::Tolerated }).fail(
        1,
        FORWARD,
        FailureKind::Failed,
        None,
    );
    assert_eq!(play.next(), wait(None));
    assert_eq!(play.ok(2, FORWARD).next(), Decision::Stop(Stop::Failed { steps: ids(&[1]) }));
    // Taken up again and done, it has not failed.
    play.stop(Stop::Failed { steps: ids(&[1]) }).resume();
    assert_eq!((play.state.groups[0].failed, play.state.groups[0].running), (1, 0));
    assert_eq!(play.start(1, FORWARD).ok(1, FORWARD).next(), Decision::End(Outcome::Finished));

    let mut asked = grouped(1, None, 1);
    asked.start(0, FORWARD).fail(0, FORWARD, FailureKind::Refused, None);
    assert_eq!(asked.next(), Decision::Stop(Stop::Failed { steps: ids(&[0]) }));
}

#[test]
fn until_a_step_nothing_else_goes() {
    let mut play = play(book(3, 0b001, |_| {}), Some(1));
    assert_eq!(play.start(0, FORWARD).next(), wait(None));
    assert_eq!(play.ok(0, FORWARD).next(), begin(1, FORWARD));
    assert!(play.state.is_wanted(StepIx(0)) && !play.state.is_wanted(StepIx(2)));
    assert_eq!(
        play.start(1, FORWARD).ok(1, FORWARD).next(),
        Decision::Stop(Stop::Until { step: id(1) })
    );
    play.stop(Stop::Until { step: id(1) }).resume();
    assert_eq!(play.next(), begin(2, FORWARD));
}

#[test]
fn until_waits_for_what_runs() {
    let mut play = play(book(2, 0, |_| {}), None);
    play.start(0, FORWARD).start(1, FORWARD).resume();
    assert_eq!(play.next(), Decision::Stop(Stop::InDoubt { steps: ids(&[0, 1]) }));
    play.resolve(0, FORWARD, Verdict::NotDone).unwrap();
    play.resolve(1, FORWARD, Verdict::Done).unwrap();
    play.start(0, FORWARD).state.until = Some(StepIx(1));
    assert_eq!(play.next(), wait(None));
    assert_eq!(play.ok(0, FORWARD).next(), Decision::Stop(Stop::Until { step: id(1) }));
}

#[test]
fn retries_wait_until_they_are_due() {
    let mut play = play(book(3, 0b100, |_| {}), None);
    play.start(0, FORWARD).start(1, FORWARD);
    play.fail(0, FORWARD, FailureKind::BeforeEffect, 100).fail(
        1,
        FORWARD,
        FailureKind::BeforeEffect,
        50,
    );
    assert_eq!(play.next(), wait(50));
    assert_eq!(play.at(50).next(), begin(1, FORWARD));
    assert_eq!(play.start(1, FORWARD).next(), wait(100));
    assert_eq!(play.at(200).next(), begin(0, FORWARD));
    // On the way back what was to be tried again forward is not, and a retry of an undo is.
    play.ok(1, FORWARD).rollback();
    assert_eq!(play.next(), begin(1, UNDO));
    play.start(1, UNDO).fail(1, UNDO, FailureKind::Failed, 300);
    assert_eq!(play.next(), Decision::Pass(StepIx(0)));
    play.fact(Fact::UndoPassed { step: id(0) });
    assert_eq!(play.next(), wait(300));
    assert_eq!(play.at(300).next(), begin(1, UNDO));
    assert_eq!(play.start(1, UNDO).ok(1, UNDO).next(), Decision::End(Outcome::RolledBack));
}

#[test]
fn a_probe_settles_a_doubt_once() {
    let probe = |book: &mut Runbook| {
        let (done, not_done) =
            (Condition::compile("true").unwrap(), Condition::compile("true").unwrap());
        let action = book.steps[0].act.action.clone();
        book.steps[0].act.probe = Some(Probe { action, done, not_done });
    };
    let probed = |verdict| Fact::StepProbed {
        step: id(0),
        direction: FORWARD,
        attempt: 1,
        verdict,
        reading: "x".into(),
    };
    let doubt = || {
        let mut play = play(book(1, 0, probe), None);
        play.start(0, FORWARD).resume();
        assert_eq!(play.next(), Decision::Probe(StepIx(0), FORWARD));
        play
    };
    assert_eq!(doubt().fact(probed(Probed::Done)).next(), Decision::End(Outcome::Finished));
    assert_eq!(doubt().fact(probed(Probed::NotDone)).next(), begin(0, FORWARD));
    let unknown = Decision::Stop(Stop::InDoubt { steps: ids(&[0]) });
    assert_eq!(doubt().fact(probed(Probed::Unknown)).next(), unknown);
    // Another session looks again.
    assert_eq!(
        doubt().fact(probed(Probed::Unknown)).resume().next(),
        Decision::Probe(StepIx(0), FORWARD)
    );
    let other = Fact::StepProbed {
        step: id(0),
        direction: FORWARD,
        attempt: 2,
        verdict: Probed::Done,
        reading: "x".into(),
    };
    assert!(doubt().attempt(other).is_err());
}

#[test]
fn who_is_asked_says_go_or_no() {
    let approve = |book: &mut Runbook| {
        book.steps[0].act.action =
            Action::Approve(Approve { question: Text::compile("?").unwrap() })
    };
    let mut play = play(book(2, 0, approve), None);
    play.limits.parallel = 1;
    // A question takes nobody's place.
    assert_eq!(play.start(1, FORWARD).next(), begin(0, FORWARD));
    assert_eq!(
        play.start(0, FORWARD).ok(1, FORWARD).next(),
        Decision::Stop(Stop::Waiting { steps: ids(&[0]) })
    );
    play.limits.attended = true;
    assert_eq!(play.next(), wait(None));
    assert!(play.resolve(0, FORWARD, Verdict::Done).is_err());
    let mut refused = play.state.clone();
    play.resolve(0, FORWARD, Verdict::Go).unwrap();
    assert_eq!(play.next(), Decision::End(Outcome::Finished));
    std::mem::swap(&mut play.state, &mut refused);
    play.resolve(0, FORWARD, Verdict::NoGo).unwrap();
    assert_eq!(play.next(), Decision::Stop(Stop::Failed { steps: ids(&[0]) }));
    assert!(play.resolve(1, FORWARD, Verdict::Go).is_err());
}

#[test]
fn a_question_on_the_way_back_is_waited_for() {
    let approve = |book: &mut Runbook| {
        let mut undo = book.steps[0].act.clone();
        undo.action = Action::Approve(Approve { question: Text::compile("?").unwrap() });
        book.steps[0].undo = Undo::Act(Box::new(undo));
    };
    let mut play = play(book(1, 0, approve), None);
    play.start(0, FORWARD).ok(0, FORWARD).rollback().start(0, UNDO);
    assert_eq!(play.next(), Decision::Stop(Stop::Waiting { steps: ids(&[0]) }));
    play.limits.attended = true;
    assert_eq!(play.next(), wait(None));
    play.resolve(0, UNDO, Verdict::Go).unwrap();
    assert_eq!(play.next(), Decision::End(Outcome::RolledBack));
}

#[test]
fn what_is_held_is_released_by_a_cancellation_and_nothing_else_is_done() {
    let mut play = held();
    play.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD).cancel();
    assert_eq!(play.next(), wait(None));
    assert_eq!(play.ok(1, FORWARD).next(), begin(0, RELEASE));
    assert_eq!(play.start(0, RELEASE).next(), wait(None));
    play.fail(0, RELEASE, FailureKind::Failed, 10);
    assert_eq!(play.next(), wait(10));
    assert_eq!(play.at(10).next(), begin(0, RELEASE));
    play.start(0, RELEASE).fail(0, RELEASE, FailureKind::Failed, None);
    assert_eq!(play.next(), Decision::Stop(Stop::Stuck { steps: ids(&[0]) }));
    play.stop(Stop::Stuck { steps: ids(&[0]) }).resume();
    assert_eq!(play.start(0, RELEASE).ok(0, RELEASE).next(), Decision::End(Outcome::Cancelled));
    assert!(play.attempt(Fact::CancelBegan { because: "no".into(), actor: person() }).is_err());
    assert!(
        play.attempt(Fact::StepSkipped { step: id(1), because: SkipReason::Tolerated }).is_err()
    );
}

#[test]
fn a_doubt_about_an_undo_does_not_hold_up_a_cancellation_and_one_about_a_release_does() {
    let mut play = held();
    play.start(0, FORWARD).ok(0, FORWARD).cancel().start(0, RELEASE).resume();
    assert_eq!(play.next(), Decision::Stop(Stop::InDoubt { steps: ids(&[0]) }));
    play.resolve(0, RELEASE, Verdict::Done).unwrap();
    assert_eq!(play.next(), Decision::End(Outcome::Cancelled));
    let mut doubtful = held();
    doubtful.start(0, FORWARD).resume().resolve(0, FORWARD, Verdict::Partial).unwrap();
    doubtful.start(0, UNDO).cancel().resume();
    assert_eq!(doubtful.next(), begin(0, RELEASE));
    assert_eq!(doubtful.start(0, RELEASE).ok(0, RELEASE).next(), Decision::End(Outcome::Cancelled));
}

#[test]
fn a_release_that_fails_is_tried_again_when_it_is_due() {
    let mut play = held();
    play.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD).fail(
        1,
        FORWARD,
        FailureKind::Failed,
        None,
    );
    assert_eq!(play.next(), begin(0, RELEASE));
    play.start(0, RELEASE).fail(0, RELEASE, FailureKind::Failed, 10);
    assert_eq!(play.next(), wait(10));
    // Who goes on before that waits for the release, and then takes the hold again.
    play.stop(Stop::Failed { steps: ids(&[1]) }).resume();
    assert_eq!(play.next(), wait(10));
    assert_eq!(play.at(10).next(), begin(0, RELEASE));
    assert_eq!(play.start(0, RELEASE).next(), wait(None));
    assert_eq!(play.ok(0, RELEASE).next(), begin(0, FORWARD));
    assert_eq!(play.start(0, FORWARD).next(), wait(None));
    assert_eq!(play.ok(0, FORWARD).next(), begin(1, FORWARD));
    play.start(1, FORWARD).ok(1, FORWARD);
    assert_eq!(play.next(), begin(0, RELEASE));
    assert_eq!(play.start(0, RELEASE).ok(0, RELEASE).next(), Decision::End(Outcome::Finished));
}

#[test]
fn downtime_is_counted_between_its_marks_and_on_the_way_back() {
    let marks = |book: &mut Runbook| {
        book.steps[0].downtime = Some(Downtime::Begins);
        book.steps[1].downtime = Some(Downtime::Ends);
    };
    let mut play = play(book(2, 1, marks), None);
    play.at(10).start(0, FORWARD).at(20).ok(0, FORWARD).at(30).start(1, FORWARD);
    assert_eq!(play.state.downtime_until(Moment(35)), Span::from_millis(25));
    play.at(40).ok(1, FORWARD).at(50);
    assert_eq!(play.state.downtime_until(Moment(60)), Span::from_millis(30));
    play.rollback()
        .at(100)
        .start(1, UNDO)
        .at(110)
        .ok(1, UNDO)
        .at(120)
        .start(0, UNDO)
        .at(130)
        .ok(0, UNDO);
    assert_eq!(play.state.downtime_until(Moment(200)), Span::from_millis(60));
}

#[test]
fn an_end_that_has_no_undo_begins_the_downtime_of_the_way_back() {
    let marks = |undo: Undo| {
        move |book: &mut Runbook| {
            book.steps[0].downtime = Some(Downtime::Begins);
            (book.steps[1].downtime, book.steps[1].undo) = (Some(Downtime::Ends), undo);
        }
    };
    let mut only_looks = play(book(2, 1, marks(Undo::Nothing)), None);
    only_looks.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD).at(10).ok(1, FORWARD).rollback();
    only_looks.at(100).fact(Fact::UndoPassed { step: id(1) });
    assert_eq!(only_looks.state.downtime_until(Moment(120)), Span::from_millis(30));
    only_looks.at(130).start(0, UNDO).at(140).ok(0, UNDO);
    assert_eq!(only_looks.state.downtime_until(Moment(200)), Span::from_millis(50));
    let mut by_hand = play(book(2, 1, marks(Undo::Unknown)), None);
    by_hand.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD).at(10).ok(1, FORWARD).rollback();
    by_hand.at(100).resolve(1, UNDO, Verdict::Done).unwrap();
    assert_eq!(by_hand.state.downtime_until(Moment(120)), Span::from_millis(30));
    // Where production went down stays as it is: it is up on the new side all the time.
    let mut in_part = play(book(2, 1, marks(Undo::Nothing)), None);
    in_part.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD).at(10).ok(1, FORWARD);
    in_part.fact(Fact::RollbackBegan {
        to: Some(id(0)),
        because: "law".into(),
        actor: person(),
        force: false,
    });
    in_part.at(100).fact(Fact::UndoPassed { step: id(1) });
    assert_eq!(in_part.state.downtime_until(Moment(120)), Span::from_millis(10));
}

#[test]
fn what_never_had_an_effect_is_no_downtime() {
    let mut play = play(book(1, 0, |book| book.steps[0].downtime = Some(Downtime::Begins)), None);
    play.at(10).start(0, FORWARD).at(20).fail(0, FORWARD, FailureKind::BeforeEffect, None);
    assert_eq!(play.state.downtime_until(Moment(30)), Span::ZERO);
    assert!(!play.state.step(StepIx(0)).touched);
}

#[test]
fn a_key_is_the_same_for_all_attempts_until_all_is_begun_anew() {
    let mut play = play(book(1, 0, |_| {}), None);
    let key = |play: &Play| play.state.idempotency_key(StepIx(0), FORWARD);
    assert_eq!(key(&play), "r:p/s0:forward");
    play.start(0, FORWARD).resume().resolve(0, FORWARD, Verdict::NotDone).unwrap();
    assert_eq!(key(&play), "r:p/s0:forward");
    play.start(0, FORWARD).resume().resolve(0, FORWARD, Verdict::Partial).unwrap();
    assert_eq!(play.next(), begin(0, UNDO));
    play.start(0, UNDO).ok(0, UNDO);
    assert_eq!(key(&play), "r:p/s0:forward:2");
    assert!(
        play.state.is_past(StepIx(0), FORWARD, 2) && !play.state.is_past(StepIx(0), FORWARD, 3)
    );
}

#[test]
fn what_was_done_by_hand_is_not_undone_by_force_of_a_word_too_early() {
    let mut play = play(book(2, 1, |_| {}), None);
    play.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD).ok(1, FORWARD);
    assert!(play.resolve(0, UNDO, Verdict::Done).is_err());
    play.rollback();
    assert!(play.resolve(0, UNDO, Verdict::Done).is_err());
    play.resolve(1, UNDO, Verdict::Done).unwrap();
    play.resolve(0, UNDO, Verdict::Done).unwrap();
    assert_eq!(play.next(), Decision::End(Outcome::RolledBack));
}

#[test]
fn a_step_without_an_undo_is_passed_or_asked_about() {
    let undos = |book: &mut Runbook| {
        (book.steps[0].undo, book.steps[1].undo) = (Undo::Unknown, Undo::Nothing)
    };
    let mut play = play(book(2, 1, undos), None);
    play.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD).ok(1, FORWARD).rollback();
    assert_eq!(play.next(), Decision::Pass(StepIx(1)));
    assert!(play.attempt(Fact::UndoPassed { step: id(0) }).is_err());
    play.fact(Fact::UndoPassed { step: id(1) });
    assert!(play.attempt(Fact::UndoPassed { step: id(0) }).is_err());
    assert_eq!(play.next(), Decision::Stop(Stop::Stuck { steps: ids(&[0]) }));
}

#[test]
fn a_tally_counts_words_by_phase() {
    let mut play = play(book(3, 0b001, |_| {}), None);
    play.start(0, FORWARD);
    let tally: Vec<_> = play.state.tally(Some(0)).into_iter().collect();
    assert_eq!(tally, [("pending", 1), ("ready", 1), ("running", 1)]);
    assert!(play.state.tally(Some(1)).is_empty());
    assert_eq!(
        [0, 1, 2].map(|step| play.state.step(StepIx(step)).word()),
        ["running", "pending", "ready"]
    );
    play.ok(0, FORWARD);
    assert_eq!(
        (play.state.unsettled(), play.state.phase_left(0), play.state.is_settled(StepIx(0))),
        (2, 2, true)
    );
}

#[test]
fn after_a_failure_only_releases_are_tried_again() {
    let mut play = held();
    play.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD).fail(
        1,
        FORWARD,
        FailureKind::Failed,
        None,
    );
    play.start(0, RELEASE).fail(0, RELEASE, FailureKind::Failed, 10);
    assert_eq!(play.at(10).next(), begin(0, RELEASE));
    play.start(0, RELEASE).ok(0, RELEASE);
    // What it held is taken again by who goes on, not before.
    assert!(play.state.sets.retake.is_empty());
    assert_eq!(play.next(), Decision::Stop(Stop::Failed { steps: ids(&[1]) }));
    play.stop(Stop::Failed { steps: ids(&[1]) }).resume();
    assert_eq!(play.next(), begin(0, FORWARD));

    let mut two = self::play(book(2, 0, |_| {}), None);
    two.start(0, FORWARD).start(1, FORWARD);
    two.fail(0, FORWARD, FailureKind::BeforeEffect, 5).fail(1, FORWARD, FailureKind::Failed, None);
    assert_eq!(two.at(10).next(), Decision::Stop(Stop::Failed { steps: ids(&[1]) }));
}

#[test]
fn what_a_cancelled_run_released_is_not_taken_again() {
    let mut play = held();
    play.start(0, FORWARD).ok(0, FORWARD).cancel().start(0, RELEASE).ok(0, RELEASE);
    assert!(play.state.sets.retake.is_empty());
    assert_eq!(play.state.step(StepIx(0)).word(), "done");
}

#[test]
fn what_is_stuck_on_the_way_back_is_named() {
    let mut play = play(book(2, 0, |_| {}), None);
    play.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD).ok(1, FORWARD).rollback();
    play.start(1, UNDO).fail(1, UNDO, FailureKind::Failed, None);
    assert_eq!(play.state.step(StepIx(1)).word(), "stuck");
    assert_eq!(play.next(), begin(0, UNDO));
    assert_eq!(play.start(0, UNDO).next(), wait(None));
    assert_eq!(play.ok(0, UNDO).next(), Decision::Stop(Stop::Stuck { steps: ids(&[1]) }));
    assert_eq!(play.state.step(StepIx(0)).word(), "undone");
}

#[test]
fn what_is_held_is_released_before_there_is_nothing_to_undo() {
    let mut play = held();
    let mut book = Runbook::clone(&play.state.runbook);
    book.steps[0].undo = Undo::Nothing;
    play.state = self::play(book, None).state;
    play.start(0, FORWARD).ok(0, FORWARD).rollback();
    assert_eq!(play.next(), begin(0, RELEASE));
    assert_eq!(play.start(0, RELEASE).ok(0, RELEASE).next(), Decision::Pass(StepIx(0)));
}

#[test]
fn downtime_that_began_in_part_is_over_with_its_undo() {
    let mut play = play(book(1, 0, |book| book.steps[0].downtime = Some(Downtime::Begins)), None);
    play.at(10).start(0, FORWARD).resume().resolve(0, FORWARD, Verdict::Partial).unwrap();
    play.at(20).start(0, UNDO).at(30).ok(0, UNDO);
    assert_eq!(play.state.downtime_until(Moment(100)), Span::from_millis(20));
    play.at(50).start(0, FORWARD);
    assert_eq!(play.state.downtime_until(Moment(100)), Span::from_millis(70));
}

#[test]
fn a_hold_of_a_step_that_stays_is_released_when_all_else_is_back() {
    let hold = |book: &mut Runbook| {
        let release = Box::new(book.steps[0].act.clone());
        book.steps[0].hold = Some(Hold { until: StepIx(2), release, estimate: None });
    };
    let mut play = play(book(3, 0b101, hold), None);
    play.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD).ok(1, FORWARD);
    play.fact(Fact::RollbackBegan {
        to: Some(id(0)),
        because: "no".into(),
        actor: person(),
        force: false,
    });
    assert_eq!(play.next(), begin(1, UNDO));
    assert_eq!(play.start(1, UNDO).next(), wait(None));
    assert_eq!(play.ok(1, UNDO).next(), begin(0, RELEASE));
    play.start(0, RELEASE).fail(0, RELEASE, FailureKind::Failed, None);
    assert_eq!(play.next(), Decision::Stop(Stop::Stuck { steps: ids(&[0]) }));
}

#[test]
fn who_is_stuck_and_asks_besides_is_stuck() {
    let approve = |book: &mut Runbook| {
        let mut undo = book.steps[0].act.clone();
        undo.action = Action::Approve(Approve { question: Text::compile("?").unwrap() });
        book.steps[0].undo = Undo::Act(Box::new(undo));
    };
    let mut play = play(book(2, 0, approve), None);
    play.start(0, FORWARD)
        .ok(0, FORWARD)
        .start(1, FORWARD)
        .ok(1, FORWARD)
        .rollback()
        .start(0, UNDO);
    play.start(1, UNDO).fail(1, UNDO, FailureKind::Failed, None);
    assert_eq!(play.next(), Decision::Stop(Stop::Stuck { steps: ids(&[1]) }));
}

#[test]
fn a_cancelled_run_tries_no_undo_again() {
    let mut play = play(book(1, 0, |_| {}), None);
    play.start(0, FORWARD).resume().resolve(0, FORWARD, Verdict::Partial).unwrap();
    play.start(0, UNDO).fail(0, UNDO, FailureKind::Failed, 5).cancel();
    assert_eq!(play.at(10).next(), Decision::End(Outcome::Cancelled));
}

#[test]
fn on_the_way_back_a_doubt_about_going_forward_is_no_doubt() {
    for idempotent in [false, true] {
        let mut play = play(book(2, 0, |book| book.steps[0].act.idempotent = idempotent), None);
        play.start(0, FORWARD)
            .start(1, FORWARD)
            .fail(0, FORWARD, FailureKind::Lost, None)
            .ok(1, FORWARD)
            .rollback();
        assert_eq!(play.next(), begin(1, UNDO));
        assert_eq!(play.start(1, UNDO).ok(1, UNDO).next(), begin(0, UNDO));
        assert_eq!(play.start(0, UNDO).ok(0, UNDO).next(), Decision::End(Outcome::RolledBack));
    }
}

#[test]
fn a_hold_that_failed_is_released_again_after_it_is_taken_again() {
    let mut play = held();
    play.start(0, FORWARD).fail(0, FORWARD, FailureKind::Failed, None);
    assert_eq!(play.next(), begin(0, RELEASE));
    play.start(0, RELEASE).ok(0, RELEASE).stop(Stop::Failed { steps: ids(&[0]) }).resume();
    assert_eq!(play.next(), begin(0, FORWARD));
    play.start(0, FORWARD).fail(0, FORWARD, FailureKind::Failed, None);
    assert_eq!(play.next(), begin(0, RELEASE));
}

#[test]
fn what_begins_in_a_downtime_and_never_was_does_not_end_it() {
    let mut play = play(book(2, 0, |book| book.steps[0].downtime = Some(Downtime::Begins)), None);
    play.at(10).start(0, FORWARD).start(1, FORWARD).ok(0, FORWARD).at(20).fail(
        1,
        FORWARD,
        FailureKind::BeforeEffect,
        None,
    );
    assert_eq!(play.state.downtime_until(Moment(30)), Span::from_millis(20));
}

#[test]
fn what_failed_keeps_what_it_gave_and_when_it_ended() {
    let mut play = play(book(1, 0, |_| {}), None);
    let gave = |direction, name: &str| {
        let (outputs, secrets, logs) =
            ([(name.to_owned(), 1.into())].into_iter().collect(), Default::default(), Vec::new());
        let failure = Failure { kind: FailureKind::Failed, message: "no".into() };
        Fact::StepFailed(StepFailed {
            step: id(0),
            direction,
            attempt: 1,
            failure,
            outputs,
            retry_at: None,
            secrets,
            logs,
        })
    };
    play.start(0, FORWARD).at(10).fact(gave(FORWARD, "rows"));
    assert_eq!(play.state.step(StepIx(0)).finished, Some(Moment(10)));
    play.rollback().start(0, UNDO).at(20).fact(gave(UNDO, "other"));
    assert_eq!(play.state.step(StepIx(0)).finished, Some(Moment(10)));
    assert_eq!(play.state.step(StepIx(0)).outputs.keys().collect::<Vec<_>>(), ["rows"]);
}

#[test]
fn a_cursor_is_kept_until_all_is_begun_anew() {
    let mut play = play(book(1, 0, |_| {}), None);
    play.start(0, FORWARD).fact(Fact::CursorSaved {
        step: id(0),
        direction: FORWARD,
        attempt: 1,
        cursor: "7".into(),
    });
    assert_eq!(
        (play.state.cursor(StepIx(0), FORWARD), play.state.cursor(StepIx(0), UNDO)),
        (Some("7"), None)
    );
    play.resume().resolve(0, FORWARD, Verdict::Partial).unwrap();
    play.start(0, UNDO).ok(0, UNDO);
    assert_eq!(play.state.cursor(StepIx(0), FORWARD), None);
}

#[test]
fn a_doubt_about_an_undo_is_a_doubt_and_not_stuck() {
    let mut play = play(book(1, 0, |_| {}), None);
    play.start(0, FORWARD).ok(0, FORWARD).rollback().start(0, UNDO).resume();
    assert_eq!(play.next(), Decision::Stop(Stop::InDoubt { steps: ids(&[0]) }));
    assert!(play.resolve(0, FORWARD, Verdict::Done).is_err());
}

#[test]
fn nobody_says_done_of_what_has_not_begun() {
    let mut play = play(book(1, 0, |_| {}), None);
    assert!(play.resolve(0, FORWARD, Verdict::Done).is_err());
    play.start(0, FORWARD).resume().resolve(0, FORWARD, Verdict::NotDone).unwrap();
    // Of what it may have done, it can be said that it is undone, and no more.
    play.rollback();
    assert!(
        play.resolve(0, FORWARD, Verdict::Done).is_err()
            && play.resolve(0, RELEASE, Verdict::Done).is_err()
    );
    play.resolve(0, UNDO, Verdict::Done).unwrap();
}

#[test]
fn nobody_says_done_of_what_is_to_be_undone_first() {
    let mut play = play(book(1, 0, |_| {}), None);
    play.start(0, FORWARD).resume().resolve(0, FORWARD, Verdict::Partial).unwrap();
    assert!(play.resolve(0, FORWARD, Verdict::Done).is_err());
    play.resolve(0, UNDO, Verdict::Done).unwrap();
    assert_eq!(play.next(), begin(0, FORWARD));
}

#[test]
fn a_failure_that_nobody_was_told_of_stands() {
    let failed = || Decision::Stop(Stop::Failed { steps: ids(&[0]) });
    let mut play = play(book(1, 0, |_| {}), None);
    play.start(0, FORWARD).fail(0, FORWARD, FailureKind::Failed, None).resume();
    assert_eq!(play.next(), failed());
    assert_eq!(play.stop(Stop::Failed { steps: ids(&[0]) }).resume().next(), begin(0, FORWARD));
    play.start(0, FORWARD).fail(0, FORWARD, FailureKind::Failed, None).rollback();
    // On the way back nothing that went forward is taken up again, told or not, and an undo is when
    // somebody was told.
    play.stop(Stop::Interrupted { signal: 2 }).resume();
    assert!(play.state.track(StepIx(0), FORWARD).is_failed());
    play.start(0, UNDO).fail(0, UNDO, FailureKind::Failed, None).resume();
    assert_eq!(play.next(), Decision::Stop(Stop::Stuck { steps: ids(&[0]) }));
    assert_eq!(play.stop(Stop::Stuck { steps: ids(&[0]) }).resume().next(), begin(0, UNDO));
}

#[test]
fn what_was_released_stays_so_on_the_way_back() {
    let mut play = held();
    play.start(0, FORWARD)
        .ok(0, FORWARD)
        .rollback()
        .start(0, RELEASE)
        .ok(0, RELEASE)
        .start(0, UNDO);
    assert_eq!(*play.state.track(StepIx(0), RELEASE), Track::Done);
}

#[test]
fn it_is_known_when_the_last_attempt_began() {
    let mut play = play(book(1, 0, |_| {}), None);
    assert_eq!(play.state.since(StepIx(0), FORWARD), None);
    play.at(10).start(0, FORWARD).at(20).fail(0, FORWARD, FailureKind::Failed, 30);
    assert_eq!(play.state.since(StepIx(0), FORWARD), Some(Moment(10)));
    play.at(30).start(0, FORWARD).at(40).ok(0, FORWARD).rollback();
    assert_eq!(
        (play.state.since(StepIx(0), FORWARD), play.state.since(StepIx(0), UNDO)),
        (Some(Moment(30)), None)
    );
}

#[test]
fn what_still_runs_is_watched_by_who_resumes() {
    let still = |step, direction| Fact::RunResumed {
        operator: person(),
        until: None,
        still_running: vec![StillRunning { step: id(step), direction }],
    };
    let mut play = play(book(2, 0, |_| {}), None);
    assert!(play.attempt(still(0, FORWARD)).is_err());
    play.start(0, FORWARD).start(1, FORWARD);
    for (step, direction) in [(0, UNDO), (9, FORWARD)] {
        assert!(play.attempt(still(step, direction)).is_err());
    }
    play.fact(still(0, FORWARD));
    assert_eq!(play.state.sets.inherited, [(StepIx(0), FORWARD)].into());
    assert_eq!(play.next(), wait(None));
    assert_eq!(play.ok(0, FORWARD).next(), Decision::Stop(Stop::InDoubt { steps: ids(&[1]) }));
    assert!(play.attempt(still(0, FORWARD)).is_err());
    // Another session inherits nothing of what an earlier one did.
    assert!(play.resume().state.sets.inherited.is_empty());
}

#[test]
fn an_analysis_is_read_only_while_its_step_runs() {
    let read = |attempt| Fact::AnalysisRead {
        step: id(0),
        attempt,
        analysis: "errors".into(),
        percent: 25,
        says: Says::Bad,
        reading: "value is 1".into(),
    };
    let mut play = play(book(1, 0, |_| {}), None);
    assert!(play.attempt(read(1)).is_err());
    play.start(0, FORWARD).fact(read(1)).fact(read(1));
    assert!(play.attempt(read(2)).is_err());
    play.ok(0, FORWARD);
    assert!(play.attempt(read(1)).is_err());
}

#[test]
fn what_was_found_first_is_kept_until_all_is_begun_anew() {
    let saw = |direction, attempt, seen: &str| Fact::StepSaw {
        step: id(0),
        direction,
        attempt,
        seen: seen.into(),
    };
    let mut play = play(book(1, 0, |_| {}), None);
    assert!(play.attempt(saw(FORWARD, 1, "early")).is_err());
    play.start(0, FORWARD);
    assert!(play.attempt(saw(FORWARD, 2, "other")).is_err());
    play.fact(saw(FORWARD, 1, "first")).fail(0, FORWARD, FailureKind::Failed, 0);
    play.start(0, FORWARD).fact(saw(FORWARD, 2, "half"));
    assert_eq!(play.state.seen(StepIx(0)), Some(&"first".into()));
    play.resume().resolve(0, FORWARD, Verdict::Partial).unwrap();
    play.start(0, UNDO).ok(0, UNDO);
    assert_eq!(play.state.seen(StepIx(0)), None);
    play.start(0, FORWARD).ok(0, FORWARD).rollback().start(0, UNDO).fact(saw(UNDO, 2, "back"));
    assert_eq!(play.state.seen(StepIx(0)), None);
}

#[test]
fn what_is_due_again_waits_for_room() {
    let mut play = grouped(2, Some(1), 0);
    play.start(0, FORWARD).fail(0, FORWARD, FailureKind::BeforeEffect, 10).start(1, FORWARD);
    assert_eq!(play.at(10).next(), wait(None), "its group does one at once");
    assert_eq!(play.ok(1, FORWARD).next(), begin(0, FORWARD));

    let mut play = self::play(book(2, 0, |_| {}), None);
    play.limits.parallel = 1;
    play.start(0, FORWARD).fail(0, FORWARD, FailureKind::BeforeEffect, 10).start(1, FORWARD);
    assert_eq!(play.at(10).next(), wait(None), "one action may run at once");
    play.ok(1, FORWARD).start(0, FORWARD).ok(0, FORWARD).rollback();
    play.start(1, UNDO).fail(1, UNDO, FailureKind::BeforeEffect, 20).start(0, UNDO);
    assert_eq!(play.at(20).next(), wait(None), "on the way back too");
    assert_eq!(play.ok(0, UNDO).next(), begin(1, UNDO));
}

#[test]
fn what_is_in_doubt_is_begun_again_as_there_is_room() {
    let mut play = play(
        book(2, 0, |book| book.steps.iter_mut().for_each(|step| step.act.idempotent = true)),
        None,
    );
    play.start(0, FORWARD).start(1, FORWARD).resume();
    play.limits.parallel = 1;
    assert_eq!(play.next(), begin(0, FORWARD));
    assert_eq!(play.start(0, FORWARD).next(), wait(None));
    assert_eq!(play.ok(0, FORWARD).next(), begin(1, FORWARD));
}
