//! Guards and budgets: when one is watched, what a breach leads to, and how long what is left
//! should take.

use switchover::run::watch::{breaches, consequence, is_stopped_by_retreat, is_watched};
use switchover::run::*;
use switchover::runbook::traffic::{Analysis, Says, Source};
use switchover::runbook::watch::Budget;
use switchover::runbook::*;

use super::facts::breach;
use super::play::*;

pub fn guard(from: Option<u32>, until: Option<u32>) -> Guard {
    let analysis = Analysis {
        name: "errors".into(),
        source: Source::Read(Box::new(Action::Join)),
        success: None,
        failure: None,
        every: Span::ZERO,
        initial_delay: Span::ZERO,
        failure_limit: 0,
    };
    let (from, until) = (from.map(StepIx), until.map(StepIx));
    Guard {
        name: "errors".into(),
        scope: 0,
        title: None,
        from,
        until,
        analysis,
        lasting: Span::ZERO,
        on_breach: OnBreach::Pause,
    }
}

/// Two steps, of which the second needs the first.
fn guarded(from: Option<u32>, until: Option<u32>) -> Play {
    play(book(2, 1, |book| book.guards.push(guard(from, until))), None)
}

fn read(says: Says) -> Fact {
    Fact::GuardRead { guard: "errors".into(), says, reading: "5".into() }
}

fn of_guard(then: OnBreach) -> Fact {
    Fact::Breached(Breach {
        of: Watched::Guard { guard: "errors".into() },
        reading: "5".into(),
        then,
    })
}

#[test]
fn a_guard_is_watched_from_the_beginning_of_a_step_to_the_end_of_one() {
    let watched = |play: &Play| is_watched(&play.state, &play.state.runbook.guards[0]);
    let mut play = guarded(Some(0), Some(0));
    assert!(!watched(&play) && play.attempt(read(Says::Bad)).is_err());
    assert!(watched(play.start(0, FORWARD)));
    assert!(!watched(play.ok(0, FORWARD)));
    let mut play = guarded(None, None);
    assert!(watched(&play) && watched(play.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD)));
    assert!(!watched(play.ok(1, FORWARD)), "all is done");
    let mut play = guarded(Some(0), Some(1));
    assert!(
        watched(play.start(0, FORWARD).fail(0, FORWARD, FailureKind::Failed, None)),
        "a failure waits for somebody"
    );
    assert!(!watched(play.rollback()), "what is taken back is not guarded");
}

#[test]
fn a_breach_that_pauses_lets_what_runs_finish_and_who_resumes_looks_again() {
    let mut play = guarded(None, None);
    play.start(0, FORWARD).fact(read(Says::Bad)).fact(of_guard(OnBreach::Pause));
    assert_eq!(play.next(), wait(None));
    assert!(play.attempt(of_guard(OnBreach::Pause)).is_err(), "it is breached already");
    let because = vec!["the guard errors is breached: 5".to_owned()];
    assert_eq!(
        play.ok(0, FORWARD).next(),
        Decision::Stop(Stop::Breached { because: because.clone() })
    );
    play.stop(Stop::Breached { because });
    assert!(play.attempt(read(Says::Good)).is_err(), "nobody is there to read");
    assert_eq!(play.resume().next(), begin(1, FORWARD));
    play.fact(of_guard(OnBreach::Pause));
    assert!(matches!(play.next(), Decision::Stop(_)));
}

#[test]
fn a_breach_that_warns_changes_nothing_and_can_come_again_after_a_good_reading() {
    let mut play = guarded(None, None);
    play.fact(of_guard(OnBreach::Warn));
    assert_eq!(play.next(), begin(0, FORWARD));
    play.fact(read(Says::Inconclusive));
    assert!(play.attempt(of_guard(OnBreach::Warn)).is_err(), "what nobody knows is not good");
    play.fact(read(Says::Good)).fact(of_guard(OnBreach::Warn));
    assert_eq!(play.next(), begin(0, FORWARD));
}

#[test]
fn a_breach_that_retreats_is_acted_on_whatever_happened_in_between() {
    let mut play = guarded(None, None);
    play.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD).fact(of_guard(OnBreach::Rollback));
    let back = Decision::RollBack { because: "the guard errors is breached: 5".into() };
    assert_eq!(play.next(), back);
    assert!(
        is_stopped_by_retreat(&play.state, StepIx(1))
            && !is_stopped_by_retreat(&play.state, StepIx(0))
    );
    // The executor dies before that; its successor finds it decided.
    assert_eq!(play.resume().next(), back);
    play.rollback();
    assert_eq!(play.next(), begin(1, UNDO), "what is in doubt is undone as well");
    assert!(
        play.attempt(of_guard(OnBreach::Rollback)).is_err(),
        "nothing goes forward that could be taken back"
    );
}

#[test]
fn what_has_no_way_back_is_let_finish() {
    for (undo, is_point, is_stopped) in
        [(Undo::Unknown, false, false), (Undo::Nothing, false, true), (Undo::Nothing, true, false)]
    {
        let mut play = play(
            book(1, 0, |book| {
                (book.steps[0].undo, book.steps[0].point_of_no_return) = (undo, is_point)
            }),
            None,
        );
        if is_point {
            play.fact(Fact::PointConfirmed { step: id(0), actor: person(), reason: "go".into() });
        }
        play.start(0, FORWARD);
        assert_eq!(is_stopped_by_retreat(&play.state, StepIx(0)), is_stopped);
        let expected = if is_point { OnBreach::Pause } else { OnBreach::Rollback };
        assert_eq!(consequence(&play.state, OnBreach::Rollback).0, expected);
        assert_eq!(consequence(&play.state, OnBreach::Warn), (OnBreach::Warn, ""));
    }
}

#[test]
fn a_budget_is_breached_once_and_stays_so() {
    let mut play = guarded(None, None);
    play.fact(Fact::Breached(breach(OnBreach::Pause)));
    assert!(matches!(play.next(), Decision::Stop(Stop::Breached { .. })));
    play.stop(Stop::Breached { because: Vec::new() }).resume();
    assert_eq!(play.next(), begin(0, FORWARD), "who resumes goes on over budget");
    assert!(play.attempt(Fact::Breached(breach(OnBreach::Pause))).is_err());
}

struct Took(u64);

impl History for Took {
    fn took(&self, _: &str, direction: Direction) -> Option<Span> {
        (direction == Direction::Forward).then(|| Span::from_secs(self.0))
    }
}

/// Two steps between which production is down; going on takes what the history says, each undo
/// `undo` seconds.
fn budgeted(undo: u64, limit: u64, on_breach: OnBreach) -> Play {
    let change = |book: &mut Runbook| {
        (book.steps[0].downtime, book.steps[1].downtime) =
            (Some(Downtime::Begins), Some(Downtime::Ends));
        book.steps.iter_mut().for_each(|step| step.undo_estimate = Some(Span::from_secs(undo)));
        book.budgets.downtime = Some(Budget { limit: Span::from_secs(limit), on_breach });
    };
    play(book(2, 1, change), None)
}

fn found(play: &Play, took: u64) -> Vec<(String, OnBreach)> {
    let expected = Expected::of(&play.state.runbook, &Took(took));
    breaches(&play.state, &expected, play.now)
        .into_iter()
        .map(|breach| (breach.to_string(), breach.then))
        .collect()
}

#[test]
fn a_downtime_is_foretold_while_going_back_is_cheaper() {
    let mut play = budgeted(1, 10, OnBreach::Rollback);
    assert!(found(&play, 5).is_empty(), "10 s in all");
    play.start(0, FORWARD).at(2_000);
    let words = |rest: &str| {
        format!(
            "the downtime budget is expected to be exceeded: 2s of 10s, and 12s expected in \
             all{rest}"
        )
    };
    assert_eq!(found(&play, 6), [(words(""), OnBreach::Rollback)]);
    assert!(found(&play, 4).is_empty(), "8 s in all");
    assert!(found(&play, 0).is_empty(), "of nothing is anything known");
    let mut dear = budgeted(60, 10, OnBreach::Rollback);
    dear.start(0, FORWARD).at(2_000);
    assert_eq!(
        found(&dear, 6),
        [(words(", but going on is quicker than going back"), OnBreach::Warn)]
    );
}

/// A chain of steps with these marks: `<` begins a downtime, `>` ends one.
fn marked(marks: &str, limit: u64, on_breach: OnBreach) -> Play {
    let chain = (1..marks.len()).fold(0, |edges, to| edges | 1 << (to * (to - 1) / 2 + to - 1));
    let change = |book: &mut Runbook| {
        for (step, mark) in book.steps.iter_mut().zip(marks.chars()) {
            step.undo_estimate = Some(Span::from_secs(1));
            step.downtime = match mark {
                '<' => Some(Downtime::Begins),
                '>' => Some(Downtime::Ends),
                _ => None,
            };
        }
        book.budgets.downtime = Some(Budget { limit: Span::from_secs(limit), on_breach });
    };
    play(book(marks.len(), chain, change), None)
}

#[test]
fn a_downtime_that_is_to_come_is_foretold_before_production_goes_down() {
    let up = "; production is still up (what its steps are to take is their `estimate` or, without \
        one, what they took before)";
    let words = format!(
        "the downtime budget is expected to be exceeded: 0ms of 17s, and 18s expected in all{up}"
    );
    for wanted in [OnBreach::Rollback, OnBreach::Pause, OnBreach::Warn] {
        let mut play = marked(".<.>.", 17, wanted);
        assert_eq!(found(&play, 6), [(words.clone(), wanted)], "only what lies between counts");
        assert_eq!(
            found(play.start(0, FORWARD).at(60_000), 6),
            [(words.clone(), wanted)],
            "whatever the steps before take"
        );
        play.fact(Fact::Breached(
            breaches(&play.state, &Expected::of(&play.state.runbook, &Took(6)), play.now).remove(0),
        ));
        assert!(found(&play, 6).is_empty(), "once");
    }
    assert!(found(&marked(".<.>.", 18, OnBreach::Rollback), 6).is_empty());
}

#[test]
fn several_downtimes_add_up_without_what_lies_between() {
    let to_come = |play: &Play| {
        Outlook::of(&play.state, &Expected::of(&play.state.runbook, &Took(4)), play.now)
            .down_to_come
    };
    let seconds = Span::from_secs;
    for (marks, expected) in [
        ("<>.<>", 16),
        ("<><>", 16),
        ("<<>>", 16),
        ("<.>>.", 16),
        ("<..", 0),
        (">.", 0),
        ("....", 0),
    ] {
        assert_eq!(to_come(&marked(marks, 1, OnBreach::Warn)), seconds(expected), "{marks}");
    }
    let mut play = marked("<>.<>", 20, OnBreach::Rollback);
    play.start(0, FORWARD).at(1_000);
    assert_eq!(to_come(&play), seconds(15));
    play.ok(0, FORWARD).start(1, FORWARD).at(11_000);
    let words =
        "the downtime budget is expected to be exceeded: 11s of 20s, and 21s expected in all";
    assert!(found(&play, 5)[0].0.starts_with(words), "{:?}", found(&play, 5));
    // Production is up in between, and would go down once more on either way.
    play.ok(1, FORWARD).start(2, FORWARD).at(12_000);
    assert_eq!((to_come(&play), found(&play, 5)[0].1), (seconds(8), OnBreach::Rollback));
    let steps = &mut std::sync::Arc::make_mut(&mut play.state.runbook).steps;
    steps[0].undo_estimate = Some(seconds(60));
    assert_eq!(found(&play, 5)[0].1, OnBreach::Warn, "going on is quicker");
}

#[test]
fn what_runs_beside_a_downtime_counts_if_its_end_waits_for_it() {
    // 0 begins it, 1 runs beside it, and 2 ends it after both.
    let change = |book: &mut Runbook| {
        (book.steps[0].downtime, book.steps[2].downtime) =
            (Some(Downtime::Begins), Some(Downtime::Ends));
        book.steps[1].estimate = Some(Span::from_secs(60));
    };
    let mut play = play(book(3, 0b110, change), None);
    let to_come = |play: &Play| {
        Outlook::of(&play.state, &Expected::of(&play.state.runbook, &Took(4)), play.now)
            .down_to_come
    };
    assert_eq!(to_come(&play), Span::from_secs(64));
    play.start(1, FORWARD).at(50_000);
    assert_eq!(to_come(&play), Span::from_secs(14));
    let mut book = Runbook::clone(&play.state.runbook);
    book.steps[0].ruled_out = true;
    assert_eq!(to_come(&self::play(book, None)), Span::ZERO, "it is not for this run");
}

#[test]
fn what_has_come_to_pass_is_told_and_no_longer_foretold() {
    let mut play = budgeted(1, 10, OnBreach::Warn);
    play.start(0, FORWARD).at(11_000);
    let expected = [("the downtime budget is exceeded: 11s of 10s".to_owned(), OnBreach::Warn)];
    assert_eq!(found(&play, 6), expected);
    play.fact(Fact::Breached(breach(OnBreach::Warn)));
    assert!(found(&play, 6).is_empty());
    // On the way back it is only told.
    let mut back = budgeted(1, 10, OnBreach::Rollback);
    back.start(0, FORWARD).ok(0, FORWARD).rollback().at(11_000);
    assert_eq!(
        found(&back, 6),
        [("the downtime budget is exceeded: 11s of 10s".to_owned(), OnBreach::Warn)]
    );
}

#[test]
fn the_outlook_is_the_longest_way_on_and_back() {
    let mut play = budgeted(3, 100, OnBreach::Warn);
    let outlook = |play: &Play, took: u64| {
        Outlook::of(&play.state, &Expected::of(&play.state.runbook, &Took(took)), play.now)
    };
    let seconds = Span::from_secs;
    assert_eq!(
        outlook(&play, 5),
        Outlook {
            left: seconds(10),
            down_to_come: seconds(10),
            is_sure: true,
            back: Span::ZERO,
            back_up: Span::ZERO
        }
    );
    play.start(0, FORWARD).at(2_000);
    assert_eq!(
        outlook(&play, 5),
        Outlook {
            left: seconds(8),
            down_to_come: seconds(8),
            is_sure: true,
            back: seconds(3),
            back_up: seconds(3)
        }
    );
    play.ok(0, FORWARD).start(1, FORWARD);
    assert_eq!(
        outlook(&play, 5),
        Outlook {
            left: seconds(5),
            down_to_come: seconds(5),
            is_sure: true,
            back: seconds(6),
            back_up: seconds(6)
        }
    );
    assert!(!outlook(&play, 0).is_sure, "nothing is known");
    assert!(!outlook(play.at(13_000), 5).is_sure, "it takes twice as long");
    play.at(2_000);
    play.rollback();
    play.fail(1, FORWARD, FailureKind::Failed, None).start(1, UNDO).at(4_000);
    assert_eq!((outlook(&play, 5).back, outlook(&play, 5).back_up), (seconds(4), seconds(4)));
}

#[test]
fn what_hangs_is_taken_back_although_going_on_seemed_quicker() {
    let mut play = budgeted(60, 10, OnBreach::Rollback);
    play.start(0, FORWARD).at(11_000);
    assert_eq!(found(&play, 6)[0].1, OnBreach::Warn);
    let softened = Breach {
        of: Watched::Budget { budget: Budgeted::Downtime, expected: false },
        reading: "".into(),
        then: OnBreach::Warn,
    };
    play.fact(Fact::Breached(softened.clone()));
    assert!(found(&play, 6).is_empty(), "it is told once");
    play.at(13_000);
    assert_eq!(
        found(&play, 6)[0].1,
        OnBreach::Rollback,
        "twice as long as expected: nothing is to be relied on"
    );
    play.fact(Fact::Breached(Breach { then: OnBreach::Rollback, ..softened.clone() }));
    assert!(play.attempt(Fact::Breached(Breach { then: OnBreach::Rollback, ..softened })).is_err());
}

#[test]
fn a_failure_beside_a_pause_is_told_as_a_failure() {
    let mut play = play(book(2, 0, |book| book.guards.push(guard(None, None))), None);
    play.start(0, FORWARD).fact(of_guard(OnBreach::Pause)).fail(
        0,
        FORWARD,
        FailureKind::Failed,
        None,
    );
    assert_eq!(play.next(), Decision::Stop(Stop::Failed { steps: ids(&[0]) }));
}

#[test]
fn the_way_back_ends_at_a_point_of_no_return() {
    let change = |book: &mut Runbook| {
        book.steps.iter_mut().for_each(|step| step.undo_estimate = Some(Span::from_secs(5)));
        book.steps[0].point_of_no_return = true;
    };
    let mut play = play(book(2, 1, change), None);
    play.fact(Fact::PointConfirmed { step: id(0), actor: person(), reason: "go".into() });
    play.start(0, FORWARD).ok(0, FORWARD).start(1, FORWARD);
    let expected = Expected::of(&play.state.runbook, &Took(0));
    assert_eq!(Outlook::of(&play.state, &expected, play.now).back, Span::from_secs(5));
}

#[test]
fn production_is_back_when_no_step_is_left_that_would_say_so() {
    let mut play = budgeted(1, 10, OnBreach::Warn);
    play.start(0, FORWARD).ok(0, FORWARD).at(4_000);
    play.fact(Fact::StepSkipped {
        step: id(1),
        because: SkipReason::Operator { actor: person(), reason: "by hand".into() },
    });
    assert_eq!((play.state.down_since, play.state.downtime), (None, Span::from_secs(4)));
}
