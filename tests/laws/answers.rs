//! What an amendment makes of answers: what was asked before something that is otherwise now is
//! asked again, and nothing behind it goes forward until then, whatever lies between.

use std::sync::Arc;

use switchover::run::*;
use switchover::runbook::action::{Approve, Content, Notify};
use switchover::runbook::watch::Budget;
use switchover::runbook::*;

use super::play::*;
use super::watch::guard;

/// s0 -> s1 -> s2, and s3 for itself; s0 is a question.
const LINE: u32 = 0b101;

fn asked(change: impl FnOnce(&mut Runbook)) -> Runbook {
    book(4, LINE, |book| {
        book.steps[0].act.action =
            Action::Approve(Approve { question: Text::compile("?").unwrap() });
        change(book);
    })
}

/// Another meaning of a step.
fn otherwise(step: usize) -> impl FnOnce(&mut Runbook) {
    move |book| book.steps[step].undo = Undo::Unknown
}

fn both(
    one: impl FnOnce(&mut Runbook),
    other: impl FnOnce(&mut Runbook),
) -> impl FnOnce(&mut Runbook) {
    |book| {
        one(book);
        other(book);
    }
}

fn amended(new: &Runbook, voided: Option<&[usize]>) -> Fact {
    let (definition, parameters) = Default::default();
    let (changes, missing, voided) = (Vec::new(), Vec::new(), voided.map(ids));
    let (actor, reason, runbook) = (person(), "better".into(), Some(Arc::new(new.clone())));
    Fact::RunAmended(RunAmended {
        definition,
        parameters,
        actor,
        reason,
        changes,
        missing,
        voided,
        runbook,
    })
}

fn go(step: usize) -> Fact {
    Fact::PointConfirmed { step: id(step), actor: person(), reason: "go".into() }
}

fn waiting(step: usize) -> Decision {
    Decision::Stop(Stop::Waiting { steps: ids(&[step]) })
}

/// A run whose question has its go, in which s1 was begun.
fn gone(change: impl FnOnce(&mut Runbook)) -> Play {
    let mut play = play(asked(change), None);
    play.start(0, FORWARD).resolve(0, FORWARD, Verdict::Go).unwrap();
    play.start(1, FORWARD);
    play
}

fn begun(step: usize, attempt: u32) -> Fact {
    let (action, env) = (Box::new(Action::Join), Default::default());
    Fact::StepStarted(StepStarted {
        step: id(step),
        direction: FORWARD,
        attempt,
        key: "k".into(),
        action,
        env,
    })
}

#[test]
fn a_go_is_void_where_something_behind_it_is_otherwise_now() {
    let mut play = gone(|_| {});
    let before = play.ok(1, FORWARD).state.idempotency_key(StepIx(0), FORWARD);
    let new = asked(otherwise(2));
    assert_eq!(play.state.voided_by(&new), ids(&[0]));
    for others in [&[][..], &[0, 1], &[3]] {
        play.refuses([amended(&new, Some(others))]);
    }
    play.fact(amended(&new, Some(&[0])));
    assert_eq!(play.next(), begin(0, FORWARD));
    assert_ne!(
        play.state.idempotency_key(StepIx(0), FORWARD),
        before,
        "what is asked is not what was asked"
    );
    // All that s2 needs itself is done.
    play.refuses([begun(2, 1)]);
    play.start(0, FORWARD);
    assert_eq!(play.next(), begin(3, FORWARD), "what does not stand behind it goes on");
    assert_eq!(play.start(3, FORWARD).ok(3, FORWARD).next(), waiting(0));
    play.resolve(0, FORWARD, Verdict::Go).unwrap();
    assert_eq!((play.next(), play.state.void().count()), (begin(2, FORWARD), 0));
    assert_eq!(play.start(2, FORWARD).ok(2, FORWARD).next(), Decision::End(Outcome::Finished));
}

#[test]
fn a_go_stays_where_nothing_behind_it_is_otherwise() {
    let fresh = |change: fn(&mut Runbook)| {
        let new = asked(change);
        let mut play = gone(|_| {});
        play.ok(1, FORWARD);
        (play.state.voided_by(&new), play, new)
    };
    let titled = |book: &mut Runbook| book.steps[2].title = Text::compile("other words").ok();
    for change in [titled, |book: &mut Runbook| otherwise(3)(book)] {
        let (voided, mut play, new) = fresh(change);
        assert_eq!(voided, ids(&[]));
        assert_eq!(play.fact(amended(&new, Some(&[]))).next(), begin(2, FORWARD));
    }
    let hurried = |book: &mut Runbook| {
        book.budgets.duration =
            Some(Budget { limit: Span::from_secs(60), on_breach: OnBreach::Rollback });
    };
    let (voided, ..) = fresh(hurried);
    assert_eq!(voided, ids(&[0]), "what stands behind it may be taken back after a minute");
    let (voided, ..) = fresh(|book| book.guards.push(guard(Some(2), None)));
    assert_eq!(voided, ids(&[0]), "what stands behind it may be taken back by a guard");
    let (voided, ..) = fresh(|book| book.guards.push(guard(None, Some(1))));
    assert_eq!(voided, ids(&[]), "it is not watched any more when what stands behind it runs");
    let (voided, ..) = fresh(|book| book.steps[2].needs.clear());
    assert_eq!(voided, ids(&[0]), "what stood behind it does so no longer");
    let (voided, ..) = fresh(|book| book.steps[3].needs.push(StepIx(1)));
    assert_eq!(voided, ids(&[0]), "what did not stand behind it does so now");
    let mut early = play(asked(|_| {}), None);
    assert_eq!(
        early.start(0, FORWARD).state.voided_by(&asked(otherwise(2))),
        ids(&[]),
        "nobody has answered"
    );
    early.resolve(0, FORWARD, Verdict::NoGo).unwrap();
    assert_eq!(early.state.voided_by(&asked(otherwise(2))), ids(&[]), "a no is no go");
}

#[test]
fn a_template_may_differ_once_it_was_used_and_voids_the_go_before_it_until_then() {
    let told = |step: usize, words: &str| {
        let text = Text::compile(words).unwrap();
        asked(move |book| {
            let content = Content::Template("t".into());
            book.steps[step].act.action = Action::Notify(Notify { content, to: Vec::new() });
            book.templates.insert("t".into(), Template { subject: text.clone(), body: text });
        })
    };
    for (step, voided) in [(1, ids(&[])), (2, ids(&[0]))] {
        let mut play = play(told(step, "as agreed"), None);
        play.start(0, FORWARD).resolve(0, FORWARD, Verdict::Go).unwrap();
        play.start(1, FORWARD).ok(1, FORWARD);
        let new = told(step, "not as agreed");
        assert!(play.state.conflicts(&new).is_empty(), "s{step}");
        assert_eq!(play.state.voided_by(&new), voided, "s{step}");
    }
}

#[test]
fn what_is_new_or_gone_behind_a_go_makes_it_void() {
    let mut play = gone(|_| {});
    play.ok(1, FORWARD);
    let less = |steps: usize| {
        let mut book = asked(|book| book.steps[3].needs = vec![StepIx(2)]);
        book.steps.truncate(steps);
        book.with_index()
    };
    assert_eq!(play.state.voided_by(&less(2)), ids(&[0]), "s2 is gone");
    let mut short = self::play(less(3), None);
    short.start(0, FORWARD).resolve(0, FORWARD, Verdict::Go).unwrap();
    assert_eq!(short.state.voided_by(&less(4)), ids(&[0]), "s3 is new");
    assert_eq!(short.state.voided_by(&less(3)), ids(&[]));
}

#[test]
fn what_has_begun_behind_a_void_go_is_not_begun_again() {
    let new = || asked(otherwise(2));
    let mut retried = gone(|_| {});
    retried.fail(1, FORWARD, FailureKind::BeforeEffect, 10).fact(amended(&new(), Some(&[0])));
    assert_eq!(
        retried.start(3, FORWARD).ok(3, FORWARD).at(20).start(0, FORWARD).next(),
        waiting(0)
    );
    retried.resolve(0, FORWARD, Verdict::Go).unwrap();
    assert_eq!(retried.next(), begin(1, FORWARD));

    let again = |book: &mut Runbook| book.steps[1].act.idempotent = true;
    let mut doubted = gone(again);
    doubted.resume().fact(amended(&asked(both(again, otherwise(2))), Some(&[0])));
    assert_eq!(doubted.next(), begin(0, FORWARD), "it holds up nobody");
    doubted.refuses([begun(1, 2)]);
    doubted.start(0, FORWARD).resolve(0, FORWARD, Verdict::Go).unwrap();
    assert_eq!(doubted.next(), begin(1, FORWARD));
}

#[test]
fn a_hold_behind_a_void_go_is_not_taken_again() {
    let hold = |book: &mut Runbook| {
        let release = Box::new(book.steps[1].act.clone());
        book.steps[1].hold = Some(Hold { until: StepIx(2), release, estimate: None });
        book.steps[3].needs.push(StepIx(0));
    };
    let mut play = gone(hold);
    play.ok(1, FORWARD)
        .start(2, FORWARD)
        .fail(2, FORWARD, FailureKind::Failed, None)
        .start(1, RELEASE)
        .ok(1, RELEASE);
    play.stop(Stop::Failed { steps: ids(&[2]) })
        .fact(amended(&asked(both(hold, otherwise(3))), Some(&[0])))
        .resume();
    assert_eq!(play.next(), begin(0, FORWARD));
    assert_eq!(play.start(0, FORWARD).next(), waiting(0));
    play.resolve(0, FORWARD, Verdict::Go).unwrap();
    assert_eq!(play.next(), begin(1, FORWARD));
}

#[test]
fn a_word_about_a_point_of_no_return_is_kept_or_void() {
    let point = |book: &mut Runbook| book.steps[1].point_of_no_return = true;
    let said = || {
        let mut play = play(asked(point), None);
        play.start(0, FORWARD).resolve(0, FORWARD, Verdict::Go).unwrap();
        play.fact(go(1)).start(3, FORWARD).ok(3, FORWARD);
        play
    };
    let mut kept = said();
    let beside = book(5, LINE, |book| book.steps.splice(..4, asked(point).steps).for_each(drop));
    assert_eq!(kept.fact(amended(&beside, Some(&[]))).next(), begin(1, FORWARD));
    for step in [1, 2] {
        let new = asked(both(point, otherwise(step)));
        let mut void = said();
        void.fact(amended(&new, Some(&[0, 1]))).start(0, FORWARD);
        assert_eq!(void.next(), waiting(0), "the point is asked about in its turn");
        void.resolve(0, FORWARD, Verdict::Go).unwrap();
        assert_eq!(void.next(), waiting(1));
        void.refuses([begun(1, 1)]);
        assert_eq!(void.fact(go(1)).next(), begin(1, FORWARD));
        assert_eq!(void.state.void().count(), 0);
    }
    // Journals of before there were such forgot every word, and kept every go.
    let mut old = said();
    assert_eq!(old.fact(amended(&asked(both(point, otherwise(2))), None)).next(), waiting(1));
}

#[test]
fn a_void_go_stays_void_over_another_amendment() {
    let mut play = gone(|_| {});
    play.ok(1, FORWARD).fact(amended(&asked(otherwise(2)), Some(&[0])));
    let twice = asked(both(otherwise(2), otherwise(3)));
    play.fact(amended(&twice, Some(&[]))).start(3, FORWARD).ok(3, FORWARD);
    assert_eq!(
        (play.next(), play.state.void().collect::<Vec<_>>()),
        (begin(0, FORWARD), vec![StepIx(0)])
    );
    play.refuses([begun(2, 1)]);
    // A person's word for going on without it is an answer too.
    let because = SkipReason::Operator { actor: person(), reason: "known".into() };
    assert_eq!(play.fact(Fact::StepSkipped { step: id(0), because }).next(), begin(2, FORWARD));
    // And is void like one.
    let other = asked(|book| {
        otherwise(3)(book);
        book.steps[2].act.idempotent = true;
    });
    assert_eq!(play.state.voided_by(&other), ids(&[0]));
}

#[test]
fn a_run_with_a_void_go_goes_back_as_before() {
    let mut play = gone(|_| {});
    play.ok(1, FORWARD).fact(amended(&asked(otherwise(2)), Some(&[0]))).rollback();
    assert_eq!(play.next(), begin(1, UNDO));
    play.start(1, UNDO).ok(1, UNDO);
    let back = play.next();
    assert!([begin(0, UNDO), Decision::Pass(StepIx(0))].contains(&back), "{back:?}");
}
