//! Forged accounts: what a good run leaves, and in each case one thing of it that is wrong.

use serde_json::{Value as Json, json};

use super::*;
use crate::rehearsal::witness::Line;
use crate::rehearsal::world::first;
use crate::run::{
    Digest, Failure, FailureKind, MessageSent, Moment, Person, StepFailed, StepStarted,
    StepSucceeded,
};

const FORWARD: Direction = Direction::Forward;
const UNDO: Direction = Direction::Undo;
const RELEASE: Direction = Direction::Release;

/// `p/a`, then `p/b`, which is idempotent and begins a downtime; `p/c`, which needs nobody, holds
/// something until `p/b` is done, and can be undone only if `undo_of_c` says so; `p/d`, which a
/// condition rules out; `p/e`, a task after `p/b`.
fn book(undo_of_c: &Json) -> Runbook {
    let act = json!({
        "action": { "run": { "command": { "script": { "shell": ["sh"], "script": "" } } } },
        "idempotent": false,
    });
    let step = |id: &str, needs: &[u32], undo: &Json| {
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
    let undone = json!({ "act": act });
    let mut steps = [
        step("p/a", &[], &undone),
        step("p/b", &[0], &undone),
        step("p/c", &[], undo_of_c),
        step("p/d", &[], &json!("nothing")),
        step("p/e", &[1], &json!("nothing")),
    ];
    steps[1]["act"]["idempotent"] = json!(true);
    steps[1]["downtime"] = json!("begins");
    steps[2]["hold"] = json!({ "until": 1, "release": act });
    steps[4]["act"]["action"] = json!({ "task": { "instructions": "Call them", "fields": {} } });
    let told = |names: &[&str]| {
        names
            .iter()
            .map(|name| ((*name).to_owned(), json!("words")))
            .collect::<serde_json::Map<_, _>>()
    };
    let occasions = [
        "start",
        "success",
        "failure",
        "report",
        "waiting",
        "downtime_starts",
        "point_of_no_return",
        "rollback_began",
        "rolled_back",
    ];
    let book = json!({
        "name": "r",
        "file": "book.yaml",
        "locks": [],
        "scopes": [{ "parameters": {} }],
        "occasions": told(&occasions),
        "templates": {},
        "phases": [{ "id": "p", "messages": told(&["start", "success", "failure"]) }],
        "groups": [],
        "steps": steps,
    });
    serde_json::from_value::<Runbook>(book).unwrap().with_index()
}

fn undo() -> Json {
    json!({
        "act": {
            "action": { "run": { "command": { "script": { "shell": ["sh"], "script": "" } } } },
            "idempotent": false,
        },
    })
}

/// What a run leaves, to be changed.
#[derive(Clone)]
struct Forged {
    book: Runbook,
    facts: Vec<Fact>,
    lines: Vec<Line>,
    marks: BTreeSet<String>,
}

fn key(ix: u32, direction: Direction) -> String {
    format!("{ix}:{}", direction.word())
}

impl Forged {
    fn new(book: Runbook) -> Forged {
        let started = first(&book, Moment::default()).fact;
        Forged { book, facts: vec![started], lines: Vec::new(), marks: BTreeSet::new() }
            .tell("start", None)
    }

    fn started(&self, ix: u32, direction: Direction, attempt: u32) -> Fact {
        let (step, action, env) = (
            self.book.step(StepIx(ix)).id.clone(),
            Box::new(crate::runbook::Action::Join),
            Default::default(),
        );
        Fact::StepStarted(StepStarted {
            step,
            direction,
            attempt,
            key: key(ix, direction),
            action,
            env,
        })
    }

    fn ended(&self, ix: u32, direction: Direction, attempt: u32) -> Fact {
        let (step, result) = (self.book.step(StepIx(ix)).id.clone(), String::new());
        let (outputs, secrets, logs) = Default::default();
        Fact::StepSucceeded(StepSucceeded {
            step,
            direction,
            attempt,
            outputs,
            result,
            secrets,
            logs,
        })
    }

    fn line(what: What, ix: u32, direction: Direction, attempt: u32) -> Line {
        Line { what, step: StepIx(ix), direction, attempt, key: key(ix, direction) }
    }

    fn saw(mut self, ix: u32, direction: Direction, attempt: u32) -> Forged {
        self.lines.extend(
            [What::Begin, What::End].map(|what| Forged::line(what, ix, direction, attempt)),
        );
        self
    }

    /// An attempt in the journal, in the witness and in the world.
    fn step(mut self, ix: u32, direction: Direction, attempt: u32) -> Forged {
        self.facts
            .extend([self.started(ix, direction, attempt), self.ended(ix, direction, attempt)]);
        let (done, held) = (format!("{ix}.done"), format!("{ix}.held"));
        match direction {
            Direction::Forward => {
                self.marks.insert(done);
                if self.book.step(StepIx(ix)).hold.is_some() {
                    self.marks.insert(held);
                }
            }
            Direction::Undo => drop(self.marks.remove(&done)),
            Direction::Release => drop(self.marks.remove(&held)),
        }
        self.saw(ix, direction, attempt)
    }

    fn fact(mut self, fact: Fact) -> Forged {
        self.facts.push(fact);
        self
    }

    /// A message about the fact before, or about a phase.
    fn tell(self, occasion: &str, phase: Option<&str>) -> Forged {
        let of = phase.is_none().then_some(self.facts.len() as u64);
        self.tell_of(occasion, phase, of)
    }

    /// A message about what happened so many facts ago.
    fn tell_late(self, occasion: &str, phase: Option<&str>, ago: usize) -> Forged {
        let of = self.facts.len() - ago;
        self.tell_of(occasion, phase, Some(of as u64))
    }

    fn tell_of(self, occasion: &str, phase: Option<&str>, of: Option<u64>) -> Forged {
        let (phase, occasion, digest) =
            (phase.map(str::to_owned), occasion.to_owned(), Digest::default());
        let [subject, channel, file] = [const { String::new() }; 3];
        self.fact(Fact::MessageSent(MessageSent {
            occasion,
            phase,
            step: None,
            of,
            subject,
            to: Vec::new(),
            channel,
            file,
            digest,
        }))
    }

    fn over(self, outcome: Outcome) -> Forged {
        let end = if outcome == Outcome::Finished { "success" } else { "rolled_back" };
        self.fact(Fact::RunEnded { outcome }).tell(end, None).tell_late("report", None, 1)
    }

    fn account(&self) -> Account {
        let event = |(number, fact): (u64, &Fact)| Event {
            number,
            at: Moment::default(),
            fact: fact.clone(),
        };
        Account {
            runbook: Arc::new(self.book.clone()),
            ruled_out: [StepIx(3)].into(),
            events: (1..).zip(&self.facts).map(event).collect(),
            witness: self.lines.iter().cloned().collect(),
            marks: self.marks.clone(),
        }
    }

    /// Without what the journal says of a step in one direction.
    fn unwritten(mut self, ix: u32, of: Direction) -> Forged {
        let id = self.book.step(StepIx(ix)).id.clone();
        // In its place stands something that says nothing, so that each number stays.
        let nothing =
            Fact::StepSaw { step: id.clone(), direction: of, attempt: 1, seen: Json::Null };
        for fact in &mut self.facts {
            let is_its_own = match fact {
                Fact::StepStarted(started) => started.step == id && started.direction == of,
                Fact::StepSucceeded(done) => done.step == id && done.direction == of,
                _ => false,
            };
            if is_its_own {
                *fact = nothing.clone();
            }
        }
        self
    }

    fn unseen(mut self, ix: u32, direction: Direction) -> Forged {
        self.lines.retain(|line| (line.step, line.direction) != (StepIx(ix), direction));
        self
    }

    fn untold(mut self, occasion: &str) -> Forged {
        let is_it =
            |fact: &Fact| matches!(fact, Fact::MessageSent(sent) if sent.occasion == occasion);
        let at = self.facts.iter().position(is_it).unwrap();
        self.facts[at] =
            Fact::StepSaw { step: "p/a".into(), direction: FORWARD, attempt: 1, seen: Json::Null };
        self
    }

    fn marked(mut self, mark: &str, is_there: bool) -> Forged {
        if is_there {
            self.marks.insert(mark.to_owned())
        } else {
            self.marks.remove(mark)
        };
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Forged)) -> Forged {
        change(&mut self);
        self
    }
}

fn skipped(step: &str) -> Fact {
    let because = crate::run::SkipReason::Condition { condition: "false".into() };
    Fact::StepSkipped { step: step.into(), because }
}

/// All went well.
fn forth() -> Forged {
    let forged = Forged::new(book(&undo()))
        .step(0, FORWARD, 1)
        .tell("phase_start", Some("p"))
        .fact(skipped("p/d"));
    let forged = forged
        .step(2, FORWARD, 1)
        .step(1, FORWARD, 1)
        .tell_late("downtime_starts", None, 1)
        .step(2, RELEASE, 1);
    let forged = forged.with(|forged| {
        forged.facts.extend([forged.started(4, FORWARD, 1), forged.ended(4, FORWARD, 1)])
    });
    forged.tell("phase_success", Some("p")).over(Outcome::Finished)
}

fn going_back() -> Fact {
    Fact::RollbackBegan { to: None, because: "x".into(), actor: Person::default(), force: false }
}

/// `a` and `c` were done, and were taken back.
fn back() -> Forged {
    let forged = Forged::new(book(&undo()))
        .step(0, FORWARD, 1)
        .tell("phase_start", Some("p"))
        .step(2, FORWARD, 1)
        .step(1, FORWARD, 1);
    let forged = forged
        .tell_late("downtime_starts", None, 1)
        .fact(going_back())
        .tell("rollback_began", None)
        .step(2, RELEASE, 1)
        .step(2, UNDO, 1);
    forged.step(1, UNDO, 1).step(0, UNDO, 1).over(Outcome::RolledBack)
}

/// Each of these is noticed.
fn are_noticed(judge: impl Fn(&Account) -> Vec<String>, cases: Vec<(Forged, &str)>) {
    for (forged, wanted) in cases {
        let found = judge(&forged.account());
        assert!(found.iter().any(|found| found == wanted), "{wanted} is not among {found:#?}");
    }
}

#[test]
fn a_run_that_is_as_it_should_be_has_no_differences() {
    let all = forth().account();
    assert_eq!((smooth(&all), resumed(&all, &all)), (vec![], vec![]));
    assert_eq!(rolled_back(&back().account()), [""; 0]);
}

#[test]
fn what_is_wrong_with_an_attempt_is_noticed_wherever_it_ends() {
    let all = forth().account();
    let swapped = |forged: Forged, one: usize, other: usize| {
        forged.with(|forged| forged.lines.swap(one, other))
    };
    let twice = |ix: u32| {
        forth().saw(ix, FORWARD, 2).with(|forged| {
            forged.facts.extend([forged.started(ix, FORWARD, 2), forged.ended(ix, FORWARD, 2)])
        })
    };
    let cases = || {
        vec![
            (twice(0), "p/a is not idempotent and began forward 2 times"),
            (
                twice(1).with(|forged| {
                    forged
                        .lines
                        .iter_mut()
                        .filter(|line| line.attempt == 2)
                        .for_each(|line| line.key = "x".into())
                }),
                "attempt 2 forward of p/b has another idempotency key than the one before",
            ),
            (forth().saw(1, FORWARD, 7), "the journal does not know of attempt 7 forward of p/b"),
            (
                forth().with(|forged| forged.lines.insert(1, forged.lines[0].clone())),
                "two attempts of p/a overlap",
            ),
            (forth().with(|forged| drop(forged.lines.remove(0))), "p/a ended and had not begun"),
            (forth().with(|forged| drop(forged.lines.remove(1))), "p/a never ended"),
            (
                forth().with(|forged| drop(forged.lines.remove(1))),
                "p/b began before p/a, which it needs, was done",
            ),
            (
                swapped(swapped(forth(), 0, 4), 1, 5),
                "p/b began before p/a, which it needs, was done",
            ),
            (forth().saw(9, FORWARD, 1), "the witness knows a step 9 that is none"),
            (
                forth().with(|forged| {
                    forged.facts.push(renamed(forged.started(0, FORWARD, 1), "p/z"))
                }),
                "the journal knows a step p/z that is none",
            ),
            (
                forth().with(|forged| {
                    let task = |fact: &Fact| {
                        matches!(
                            fact,
                            Fact::StepStarted(started) if &*started.step == "p/e"
                        )
                    };
                    let at = forged.facts.iter().position(task).unwrap();
                    let done = |fact: &Fact| {
                        matches!(
                            fact,
                            Fact::StepSucceeded(done) if &*done.step == "p/b"
                        )
                    };
                    let before = forged.facts.iter().position(done).unwrap();
                    forged.facts.swap(at, before);
                }),
                "p/e was started before p/b, which it needs, was done",
            ),
            (
                forth().with(|forged| {
                    let skip = |fact: &Fact| matches!(fact, Fact::StepSkipped { .. });
                    let at = forged.facts.iter().position(skip).unwrap();
                    forged.facts[at] = forged.started(3, FORWARD, 1);
                }),
                "p/d began, and its condition does not hold",
            ),
            (forth().saw(3, FORWARD, 1), "p/d began, and its condition does not hold"),
            (
                forth()
                    .unwritten(2, FORWARD)
                    .unseen(2, FORWARD)
                    .with(|forged| forged.facts.push(skipped("p/c"))),
                "p/c was skipped, and nothing rules it out",
            ),
        ]
    };
    are_noticed(smooth, cases());
    are_noticed(|account| resumed(account, &all), cases());
    are_noticed(rolled_back, cases());
    let same_key = |forged: Forged| {
        forged.with(|forged| {
            forged
                .lines
                .iter_mut()
                .filter(|line| line.direction == UNDO)
                .for_each(|line| line.key = key(line.step.0, FORWARD))
        })
    };
    are_noticed(
        rolled_back,
        vec![(same_key(back()), "p/a has the idempotency key of its way forward also for undo")],
    );
}

fn renamed(fact: Fact, step: &str) -> Fact {
    match fact {
        Fact::StepStarted(started) => {
            Fact::StepStarted(StepStarted { step: step.into(), ..started })
        }
        other => other,
    }
}

#[test]
fn what_does_not_happen_in_a_smooth_run_or_too_much_is_noticed() {
    are_noticed(
        smooth,
        vec![
            (
                forth().with(|forged| {
                    let at = forged
                        .facts
                        .iter()
                        .position(|fact| matches!(fact, Fact::RunEnded { .. }))
                        .unwrap();
                    forged.facts[at] =
                        Fact::RunStopped { because: Stop::Interrupted { signal: 2 } };
                }),
                "it did not finish: it stopped: {\"stop\":\"interrupted\",\"signal\":2}",
            ),
            (
                forth().unwritten(2, FORWARD).unseen(2, FORWARD).marked("2.done", false),
                "p/c is never begun instead of done",
            ),
            (forth().unwritten(4, FORWARD), "p/e is never begun instead of done"),
            (forth().unseen(2, FORWARD), "p/c began forward 0 times instead of 1"),
            (forth().unseen(2, RELEASE), "p/c began release 0 times instead of 1"),
            (forth().step(2, UNDO, 1), "p/c began undo 1 times instead of 0"),
            (forth().marked("0.done", false), "the mark of p/a is not as it should be"),
            (forth().marked("3.done", true), "the mark of p/d is not as it should be"),
            (forth().marked("2.held", true), "something is still held: 2.held"),
        ],
    );
}

#[test]
fn what_differs_from_the_smooth_run_is_noticed() {
    let notify = |forged: Forged| {
        forged.tell("notify", None).with(|forged| {
            if let Some(Fact::MessageSent(sent)) = forged.facts.last_mut() {
                (sent.step, sent.of) = (Some("p/e".into()), None);
            }
        })
    };
    let all = notify(forth()).account();
    let failed = |forged: &Forged| {
        let Fact::StepSucceeded(done) = forged.ended(4, FORWARD, 1) else { unreachable!() };
        let failure = Failure { kind: FailureKind::Failed, message: "no".into() };
        let (outputs, secrets, logs) = Default::default();
        let StepSucceeded { step, direction, attempt, .. } = done;
        Fact::StepFailed(StepFailed {
            step,
            direction,
            attempt,
            failure,
            outputs,
            retry_at: None,
            secrets,
            logs,
        })
    };
    are_noticed(
        |account| resumed(account, &all),
        vec![
            (notify(forth()).fact(going_back()), "it ends otherwise: nobody went on with it"),
            (
                notify(forth()).with(|forged| forged.facts.push(failed(forged))),
                "p/e, forward, is failed instead of done",
            ),
            (notify(forth()).unseen(1, FORWARD), "p/b began forward 0 times instead of 1"),
            (notify(forth()).step(0, UNDO, 1), "p/a began undo 1 times instead of 0"),
            (notify(forth()).marked("0.done", false), "the world is another one: 0.done"),
            (forth(), "notify was told less than 1 times"),
        ],
    );
}

#[test]
fn what_is_not_taken_back_or_in_a_wrong_order_is_noticed() {
    let swapped = back().with(|forged| {
        let place = |ix: u32| {
            forged
                .lines
                .iter()
                .position(|line| (line.step, line.direction) == (StepIx(ix), UNDO))
                .unwrap()
        };
        let (b, a) = (place(1), place(0));
        (0..2).for_each(|line| forged.lines.swap(b + line, a + line));
    });
    let before_effect = |forged: Forged| {
        forged.with(|forged| {
            let done = |fact: &Fact| {
                matches!(
                    fact,
                    Fact::StepSucceeded(done) if &*done.step == "p/c" && done.direction == FORWARD
                )
            };
            let at = forged.facts.iter().position(done).unwrap();
            let failure = Failure { kind: FailureKind::BeforeEffect, message: "no".into() };
            let (outputs, secrets, logs) = Default::default();
            let (step, direction, attempt) = ("p/c".into(), FORWARD, 1);
            forged.facts[at] = Fact::StepFailed(StepFailed {
                step,
                direction,
                attempt,
                failure,
                outputs,
                retry_at: None,
                secrets,
                logs,
            });
        })
    };
    are_noticed(
        rolled_back,
        vec![
            (swapped, "p/a was undone before p/b, which needs it"),
            (back().unseen(1, UNDO), "p/b was undone 0 times instead of 1"),
            (back().unwritten(1, UNDO), "p/b, undo, is never begun instead of done"),
            (back().saw(0, UNDO, 1), "p/a was undone 2 times instead of 1"),
            (back().marked("0.done", true), "what p/a did is still there"),
            (before_effect(back()), "p/c took effect, and the journal says that it did not"),
            (back().marked("2.held", true), "something is still held: 2.held"),
            (
                back().with(|forged| {
                    let at = forged
                        .facts
                        .iter()
                        .position(|fact| matches!(fact, Fact::RunEnded { .. }))
                        .unwrap();
                    forged.facts[at] =
                        Fact::RunStopped { because: Stop::Stuck { steps: vec!["p/a".into()] } };
                }),
                "it should be all back: it stopped: {\"stop\":\"stuck\",\"steps\":[\"p/a\"]}",
            ),
        ],
    );
}

#[test]
fn a_way_back_ends_where_it_must() {
    let stuck = |step: &str| Fact::RunStopped { because: Stop::Stuck { steps: vec![step.into()] } };
    let stopped = |forged: Forged, step: &str| forged.fact(stuck(step)).tell("failure", None);
    let phase_told = |forged: Forged| forged.tell_late("phase_failure", Some("p"), 1);
    let forged = || {
        Forged::new(book(&json!("unknown")))
            .step(0, FORWARD, 1)
            .tell("phase_start", Some("p"))
            .step(2, FORWARD, 1)
    };
    let back = || {
        forged()
            .fact(going_back())
            .tell("rollback_began", None)
            .step(2, RELEASE, 1)
            .step(0, UNDO, 1)
    };
    assert_eq!(rolled_back(&phase_told(stopped(back(), "p/c")).account()), [""; 0]);
    are_noticed(
        rolled_back,
        vec![
            (
                phase_told(stopped(back(), "p/a")),
                "it should stop at p/c: it stopped: {\"stop\":\"stuck\",\"steps\":[\"p/a\"]}",
            ),
            (back().over(Outcome::RolledBack), "it should stop at p/c: it is rolled_back"),
            (stopped(back(), "p/c"), "nobody was told of phase_failure of p, event 14"),
        ],
    );
    // What lies before a point of no return that was passed stays.
    let mut pointed = book(&undo());
    pointed.steps[1].point_of_no_return = true;
    pointed.steps[1].downtime = None;
    let passed = || {
        let forged = Forged::new(pointed.clone())
            .step(0, FORWARD, 1)
            .tell("phase_start", Some("p"))
            .step(1, FORWARD, 1);
        forged
            .tell_late("point_of_no_return", None, 1)
            .fact(going_back())
            .tell("rollback_began", None)
    };
    assert_eq!(rolled_back(&passed().over(Outcome::RolledBack).account()), [""; 0]);
    are_noticed(
        rolled_back,
        vec![
            (
                passed().step(1, UNDO, 1).over(Outcome::RolledBack),
                "p/b was undone 1 times instead of 0",
            ),
            (
                passed().untold("point_of_no_return").over(Outcome::RolledBack),
                "nobody was told of point_of_no_return, event 6",
            ),
        ],
    );
}

#[test]
fn what_nobody_was_told_or_somebody_twice_is_noticed_on_every_way() {
    for (occasion, wanted) in [
        ("start", "nobody was told of start"),
        ("phase_start", "nobody was told of phase_start of p"),
        ("phase_success", "nobody was told of phase_success of p"),
        ("downtime_starts", "nobody was told of downtime_starts, event 9"),
        ("success", "nobody was told of success"),
        ("report", "nobody was told of report, event 17"),
    ] {
        are_noticed(smooth, vec![(forth().untold(occasion), wanted)]);
    }
    for (occasion, wanted) in [
        ("start", "nobody was told of start"),
        ("rollback_began", "nobody was told of rollback_began, event 11"),
        ("rolled_back", "nobody was told of rolled_back, event 21"),
        ("report", "nobody was told of report, event 21"),
    ] {
        are_noticed(rolled_back, vec![(back().untold(occasion), wanted)]);
    }
    let twice = back().with(|forged| forged.facts.push(forged.facts.last().unwrap().clone()));
    are_noticed(rolled_back, vec![(twice, "people were told 2 times of one report")]);
    let doubt =
        forth().fact(Fact::RunStopped { because: Stop::InDoubt { steps: vec!["p/a".into()] } });
    are_noticed(smooth, vec![(doubt, "nobody was told of waiting, event 20")]);
    let failed =
        forth().fact(Fact::RunStopped { because: Stop::Failed { steps: vec!["p/a".into()] } });
    are_noticed(
        smooth,
        vec![
            (failed.clone(), "nobody was told of failure, event 20"),
            (failed, "nobody was told of phase_failure of p, event 20"),
        ],
    );
}
