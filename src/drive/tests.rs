//! What races: pairs of inputs in one call, and in either order.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::message;
use crate::run::{
    FailureKind, History, RunStarted, StepResolved, StopReason, Track, Verdict, kind,
};
use crate::runbook::reading::{EffectError, Reading};
use crate::runbook::traffic::Says;
use crate::runbook::{self, Outputs, Runbook};

const FORWARD: Direction = Direction::Forward;

/// A session without a world: what it orders is told in words, and nothing comes of it by itself.
struct Bench {
    drive: Drive,
    /// Milliseconds.
    at: i64,
}

struct NoHistory;

impl History for NoHistory {
    fn took(&self, _: &str, _: Direction) -> Option<Span> {
        None
    }
}

fn book(text: &str) -> Runbook {
    let bytes = text.as_bytes().to_vec();
    let input = runbook::Input {
        path: Path::new("book.yaml"),
        environment: None,
        given: Vec::new(),
        swapped: false,
        complete: true,
        read: &mut |_| Ok(bytes.clone()),
        template: &mut |name| Some(format!("Subject: {name}\n\nwords")),
        message_scope: &message::shape(),
    };
    runbook::load(input).unwrap()
}

impl Bench {
    fn new(text: &str) -> Bench {
        Bench::with(text, |_| {})
    }

    fn with(text: &str, change: impl FnOnce(&mut Settings)) -> Bench {
        let book = book(text);
        let started = RunStarted::of(&book, "test", Person("p".into()));
        let first = Event { number: 1, at: Moment(0), fact: Fact::RunStarted(started) };
        let expected = Expected::of(&book, &NoHistory);
        let state = RunState::new(Arc::new(book), &first).unwrap();
        let mut settings = Settings {
            operator: Person("p".into()),
            parallel: 2,
            guided: false,
            consents: false,
            attended: false,
        };
        change(&mut settings);
        Bench { drive: Drive::new(state, settings, expected), at: 0 }
    }

    fn handle(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<String> {
        let now = Now { wall: Moment(self.at), clock: Moment(self.at) };
        let orders = self.drive.handle(now, inputs).unwrap();
        orders.iter().map(|order| self.words(order)).collect()
    }

    /// The same, until it waits or is over.
    fn go(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<String> {
        let mut all = self.handle(inputs);
        while all.last().is_some_and(|last| last == "go on") {
            all.pop();
            all.extend(self.handle([]));
        }
        all
    }

    fn words(&self, order: &Order) -> String {
        let id = |ix: &StepIx| self.drive.id(*ix).to_string();
        match order {
            Order::Note(note) => format!("note: {note}"),
            Order::Commit(commit) => {
                let facts: Vec<String> = commit
                    .events
                    .iter()
                    .map(|event| {
                        let step = event.fact.step().map(|step| format!(" {step}"));
                        format!("{}{}", kind(&event.fact), step.unwrap_or_default())
                    })
                    .collect();
                let anchored = if commit.is_anchored { " (anchored)" } else { "" };
                format!("commit {}{anchored}", facts.join(", "))
            }
            Order::Launch(launch) => {
                let what = if launch.work == Work::Probe { "probe" } else { "launch" };
                format!("{what} {} {}", id(&launch.ix), launch.attempt)
            }
            Order::Examine(ix) => format!("examine {}", id(ix)),
            Order::Clear(ix, _) => format!("clear {}", id(ix)),
            Order::End { ix, force, .. } => {
                format!("{} {}", if *force { "kill" } else { "end" }, id(ix))
            }
            Order::Watch(number) => format!("watch {number}"),
            Order::Unwatch(number) => format!("unwatch {number}"),
            Order::Deliver(delivery) => format!("deliver {}", delivery.message.subject),
            Order::Ask(question) => format!("ask {:?} {}", question.kind, question.step),
            Order::GoOn => "go on".to_owned(),
            Order::Wait { until: None } => "wait".to_owned(),
            Order::Wait { until: Some(until) } => format!("wait until {}", until.0),
            Order::Over(exit) => format!("over {exit:?}"),
        }
    }

    fn ix(&self, id: &str) -> StepIx {
        self.drive.state.runbook.find(id).unwrap()
    }

    fn ended(&self, id: &str, result: Result<Reading, EffectError>) -> Input {
        let (ix, direction) = (self.ix(id), FORWARD);
        let attempt = self.drive.state.attempts(ix, direction);
        Input::Ended { ix, direction, attempt, result, logs: Vec::new(), chance: 0.5 }
    }

    fn well(&self, id: &str) -> Input {
        self.ended(id, Ok(good()))
    }

    fn badly(&self, id: &str) -> Input {
        self.ended(id, Err(EffectError::during("broken")))
    }

    fn failure(&self, id: &str) -> Option<FailureKind> {
        match self.drive.state.track(self.ix(id), FORWARD) {
            Track::Failed { failure, .. } => Some(failure.kind),
            _ => None,
        }
    }
}

fn good() -> Reading {
    Reading { is_good: true, summary: "exit 0".into(), ..Reading::default() }
}

const TWO: &str = "
runbook: two
phases:
  p:
    steps:
      a: { run: 'true', undo: none, timeout: 10s }
      b: { needs: [], run: 'true', undo: none }
      c: { needs: [a, b], run: 'true', undo: none }
";

#[test]
fn the_end_of_one_and_the_beginning_of_the_next_are_one_commit() {
    let mut bench = Bench::new(TWO);
    assert_eq!(
        bench.go([]),
        [
            "commit step_started p/a, step_started p/b (anchored)",
            "launch p/a 1",
            "launch p/b 1",
            "wait until 10000"
        ]
    );
    let both = [bench.well("p/a"), bench.well("p/b")];
    assert_eq!(
        bench.go(both),
        [
            "commit step_succeeded p/a, step_succeeded p/b, step_started p/c (anchored)",
            "launch p/c 1",
            "wait"
        ]
    );
    let last = bench.well("p/c");
    assert_eq!(bench.go([last]), ["commit step_succeeded p/c, run_ended", "over Ended(Finished)"]);
}

#[test]
fn an_interrupt_lets_what_runs_finish_whichever_comes_first() {
    for signal_first in [true, false] {
        let mut bench = Bench::new(TWO);
        bench.go([]);
        let mut inputs = vec![Input::Signal(2), bench.well("p/a"), bench.well("p/b")];
        if !signal_first {
            inputs.rotate_left(1);
        }
        let orders = bench.go(inputs);
        let last = &orders[orders.len() - 2..];
        assert_eq!(
            last,
            [
                "commit step_succeeded p/a, step_succeeded p/b, run_stopped",
                "over Stopped(Interrupted { signal: 2 })"
            ]
        );
    }
}

#[test]
fn the_second_interrupt_writes_down_why_before_it_ends_anything() {
    let mut bench = Bench::new(TWO);
    bench.go([]);
    bench.go([Input::Signal(2)]);
    assert_eq!(
        bench.go([Input::Signal(2)]),
        [
            "note: stopping p/a, p/b (once more kills it)",
            "commit stop_requested p/a, stop_requested p/b",
            "end p/a",
            "end p/b",
            "wait until 5000"
        ]
    );
    // An exit 0 behind it does not erase that.
    let (a, b) = (bench.well("p/a"), bench.well("p/b"));
    assert_eq!(bench.go([a]), ["commit step_failed p/a", "wait until 5000"]);
    let orders = bench.go([Input::Signal(15)]);
    assert_eq!(orders[..2], ["note: killing p/b", "kill p/b"]);
    let orders = bench.go([b]);
    assert_eq!(orders.last().unwrap(), "over Stopped(Interrupted { signal: 2 })");
}

#[test]
fn an_end_and_its_deadline_race() {
    // The end was reported before the moment was looked at: it counts.
    let mut bench = Bench::new(TWO);
    bench.go([]);
    bench.at = 10_000;
    let end = bench.well("p/a");
    assert_eq!(bench.go([end]), ["commit step_succeeded p/a", "wait"]);

    // The moment was looked at first: what comes behind it does not erase that.
    let mut bench = Bench::new(TWO);
    bench.go([]);
    bench.at = 10_000;
    assert_eq!(bench.go([]), ["commit stop_requested p/a", "end p/a", "wait until 15000"]);
    bench.at = 15_000;
    assert_eq!(bench.go([]), ["kill p/a", "wait"]);
    let end = bench.well("p/a");
    bench.go([end]);
    assert_eq!(bench.failure("p/a"), Some(FailureKind::TimedOut));
}

#[test]
fn a_deadline_and_an_interrupt_in_one_call_are_one_request() {
    let mut bench = Bench::new(TWO);
    bench.go([]);
    bench.go([Input::Signal(2)]);
    bench.at = 10_000;
    let orders = bench.go([Input::Signal(2)]);
    assert_eq!(
        orders[1..],
        ["commit stop_requested p/a, stop_requested p/b", "end p/a", "end p/b", "wait until 15000"]
    );
    let stopping = |id: &str| match bench.drive.state.track(bench.ix(id), FORWARD) {
        Track::Running { stopping, .. } => *stopping,
        _ => None,
    };
    assert_eq!(stopping("p/a"), Some(StopReason::Interrupt));
}

#[test]
fn two_that_fail_at_once_stop_the_run_once() {
    let mut bench = Bench::new(TWO);
    bench.go([]);
    let both = [bench.badly("p/a"), bench.badly("p/b")];
    let orders = bench.go(both);
    assert_eq!(
        orders,
        [
            "commit step_failed p/a, step_failed p/b, run_stopped",
            "over Stopped(Failed { steps: [\"p/a\", \"p/b\"] })"
        ]
    );
}

#[test]
fn an_end_that_comes_twice_is_refused() {
    let mut bench = Bench::new(TWO);
    bench.go([]);
    let twice = [bench.well("p/a"), bench.well("p/a")];
    let now = Now { wall: Moment(0), clock: Moment(0) };
    assert!(bench.drive.handle(now, twice).is_err());
}

const GUARDED: &str = "
runbook: guarded
guards:
  errors:
    run: { script: 'echo 1' }
    success: stdout == '0'
    every: 1s
    for: 2s
    on_breach: rollback
phases:
  p:
    steps:
      a: { run: 'true', undo: { run: 'true' }, downtime: begins }
      b: { run: 'true', undo: { run: 'true' }, downtime: ends }
";

fn read(says: Says) -> Input {
    Input::GuardRead { number: 0, says, words: "1".into(), is_shut: false }
}

#[test]
fn nothing_begins_before_its_guard_was_read() {
    let mut bench = Bench::new(GUARDED);
    assert_eq!(bench.go([]), ["commit ", "watch 0", "wait"]);
    let orders = bench.go([read(Says::Good)]);
    assert_eq!(orders[0], "commit guard_read, step_started p/a (anchored)");
}

#[test]
fn a_breach_and_an_end_race() {
    for end_first in [true, false] {
        let mut bench = Bench::new(GUARDED);
        bench.go([]);
        bench.go([read(Says::Good)]);
        bench.go([read(Says::Bad)]);
        bench.at = 2_000;
        let mut inputs = vec![bench.well("p/a"), read(Says::Bad)];
        if !end_first {
            inputs.rotate_left(1);
        }
        // Whatever ended is undone; what comes next does not begin.
        let orders = bench.go(inputs).join("; ");
        assert!(
            orders.contains("breached, rollback_began, step_started p/a"),
            "{end_first}: {orders}"
        );
        assert!(!orders.contains("p/b"), "{end_first}: {orders}");
    }
    // Without the end, what runs is asked to end, behind the commit that says why.
    let mut bench = Bench::new(GUARDED);
    bench.go([]);
    bench.go([read(Says::Good)]);
    bench.go([read(Says::Bad)]);
    bench.at = 2_000;
    assert_eq!(
        bench.go([read(Says::Bad)]),
        [
            "commit breached, rollback_began, stop_requested p/a",
            "end p/a",
            "unwatch 0",
            "wait until 7000"
        ]
    );
}

#[test]
fn a_good_reading_in_between_begins_the_time_anew() {
    let mut bench = Bench::new(GUARDED);
    bench.go([]);
    bench.go([read(Says::Good)]);
    bench.go([read(Says::Bad)]);
    bench.at = 2_000;
    let orders = bench.go([read(Says::Good), read(Says::Bad)]).join("; ");
    assert!(!orders.contains("breached"), "{orders}");
}

const ASKED: &str = "
runbook: asked
phases:
  p:
    steps:
      a: { run: 'true', undo: { run: 'true' } }
      gate: { approve: Shall we? }
      b: { run: 'true', undo: { run: 'true' } }
";

#[test]
fn an_answer_to_what_is_not_asked_any_more_changes_nothing() {
    let mut bench = Bench::with(ASKED, |settings| settings.attended = true);
    bench.go([]);
    let end = bench.well("p/a");
    let orders = bench.go([end]);
    assert_eq!(orders.last().unwrap(), "wait");
    assert!(orders.contains(&"ask Approve p/gate".to_owned()), "{orders:?}");
    let question = Box::new(bench.drive.question(bench.ix("p/gate")));
    let said = Fact::StepResolved(StepResolved {
        step: question.step.clone(),
        direction: FORWARD,
        verdict: Verdict::Go,
        actor: Person("q".into()),
        reason: "somebody else said so".into(),
        outputs: Outputs::new(),
    });
    let go = Input::Answered { question, answer: Answer::Go };
    let orders = bench.go([Input::Decided(said), go]);
    assert!(orders[0].starts_with("note: this answer changes nothing: p/gate"), "{orders:?}");
    assert_eq!(
        orders[1..3],
        ["commit step_resolved p/gate, step_started p/b (anchored)", "launch p/b 1"]
    );
}

#[test]
fn an_answer_and_an_interrupt_race() {
    for answer_first in [true, false] {
        let mut bench = Bench::with(ASKED, |settings| settings.attended = true);
        bench.go([]);
        let end = bench.well("p/a");
        bench.go([end]);
        let question = Box::new(bench.drive.question(bench.ix("p/gate")));
        let mut inputs = vec![Input::Answered { question, answer: Answer::Go }, Input::Signal(2)];
        if !answer_first {
            inputs.rotate_left(1);
        }
        // What a person has said is kept; nothing new begins.
        assert_eq!(
            bench.go(inputs),
            ["commit step_resolved p/gate, run_stopped", "over Stopped(Interrupted { signal: 2 })"]
        );
    }
}

const TWICE: &str = "
runbook: twice
phases:
  p:
    steps:
      a:
        run: 'true'
        undo: none
        idempotent: true
        retry: { attempts: 3, backoff: 1s, jitter: 0 }
";

#[test]
fn what_is_begun_again_waits_until_nothing_of_the_last_attempt_lives() {
    let mut bench = Bench::new(TWICE);
    bench.go([]);
    let end = bench.badly("p/a");
    assert_eq!(bench.go([end]), ["commit step_failed p/a", "wait until 1000"]);
    bench.at = 1_000;
    assert_eq!(bench.go([]), ["clear p/a", "wait"]);
    assert_eq!(bench.go([]), ["wait"], "it is asked once");
    let (ix, direction) = (bench.ix("p/a"), FORWARD);
    let cleared = || Input::Cleared { ix, direction, cursor: Some("7".into()) };
    assert_eq!(
        bench.go([cleared()])[..2],
        ["commit cursor_saved p/a, step_started p/a (anchored)", "launch p/a 2"]
    );

    // Who interrupts meanwhile is heard first.
    let mut bench = Bench::new(TWICE);
    bench.go([]);
    let end = bench.badly("p/a");
    bench.go([end]);
    bench.at = 1_000;
    bench.go([]);
    let orders = bench.go([cleared(), Input::Signal(15)]);
    assert_eq!(orders, ["commit run_stopped", "over Stopped(Interrupted { signal: 15 })"]);
}

const POINT: &str = "
runbook: point
parameters: { real: { type: boolean, default: false } }
phases:
  p:
    steps:
      a: { run: 'true', undo: { run: 'true' } }
      point: { run: 'true', undo: none, point_of_no_return: true, when: real }
      b: { run: 'true', undo: { run: 'true' } }
";

#[test]
fn nobody_is_asked_about_a_point_of_no_return_that_is_not_for_this_run() {
    let mut bench = Bench::with(POINT, |settings| settings.attended = true);
    bench.go([]);
    let end = bench.well("p/a");
    let orders = bench.go([end]);
    assert_eq!(
        orders[0],
        "commit step_succeeded p/a, step_skipped p/point, step_started p/b (anchored)"
    );
}

const BUDGETED: &str = "
runbook: budgeted
budgets: { duration: { limit: 1m, on_breach: pause } }
phases:
  p:
    steps:
      a: { run: 'true', undo: { run: 'true' }, estimate: 1s }
      down: { run: 'true', undo: { run: 'true' }, downtime: begins, estimate: 25s }
      up: { run: 'true', undo: { run: 'true' }, downtime: ends, estimate: 25s }
";

#[test]
fn budgets_are_looked_at_before_a_downtime_begins() {
    let mut bench = Bench::new(BUDGETED);
    bench.go([]);
    bench.at = 9_500;
    assert_eq!(bench.go([]), ["wait until 10500"], "59.5 s of 60 s");
    // However lately they were looked at.
    bench.at = 10_200;
    let end = bench.well("p/a");
    let orders = bench.go([end]);
    assert_eq!(orders[0], "commit step_succeeded p/a, breached, run_stopped");
}

#[test]
fn what_an_action_found_is_anchored() {
    let mut bench = Bench::new(TWO);
    bench.go([]);
    let (ix, direction, seen) = (bench.ix("p/a"), FORWARD, serde_json::json!({ "was": 1 }));
    let orders = bench.go([Input::Saw { ix, direction, attempt: 1, seen }]);
    assert_eq!(orders[0], "commit step_saw p/a (anchored)");
}

#[test]
fn a_reading_behind_the_end_of_its_step_is_dropped() {
    let mut bench = Bench::new(TWO);
    bench.go([]);
    let ix = bench.ix("p/a");
    let reading = Input::Analysed {
        ix,
        attempt: 1,
        analysis: "errors".into(),
        percent: 5,
        says: Says::Bad,
        words: "late".into(),
    };
    let end = bench.well("p/a");
    assert_eq!(bench.go([end, reading]), ["commit step_succeeded p/a", "wait"]);
}

const TOLD: &str = "
runbook: told
messages: { success: done }
phases:
  p:
    steps:
      a: { run: 'true', undo: none }
";

#[test]
fn a_session_is_over_only_when_everybody_was_told() {
    for is_written in [true, false] {
        let mut bench = Bench::new(TOLD);
        bench.go([]);
        let end = bench.well("p/a");
        let now = Now { wall: Moment(5), clock: Moment(5) };
        let orders = bench.drive.handle(now, [end]).unwrap();
        let Some(Order::Deliver(delivery)) = orders.into_iter().last() else {
            panic!("the message is the last order")
        };
        // An interrupt behind the end changes nothing about it.
        let result = match is_written {
            true => Ok(Box::new(crate::run::MessageSent {
                occasion: "success".into(),
                phase: None,
                step: None,
                of: match &delivery.of {
                    Due::Occasion(occasion) => Some(occasion.of),
                    Due::Step { .. } => None,
                },
                subject: delivery.message.subject.clone(),
                to: Vec::new(),
                channel: "outbox".into(),
                file: "f".into(),
                digest: crate::run::Digest::default(),
            })),
            false => Err("the disk is full".to_owned()),
        };
        let orders = bench.go([Input::Signal(2), Input::Delivered { delivery, result }]);
        let first = match is_written {
            true => "commit message_sent",
            false => {
                "note: the message success could not be written: the disk is full; the next \
                 session tries it again"
            }
        };
        assert_eq!(orders, [first, "over Ended(Finished)"]);
    }
}
