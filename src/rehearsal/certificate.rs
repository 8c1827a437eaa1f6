//! What must hold of a run whose executor was killed on the way, however it was taken up: held against what the stand-ins wrote
//! down themselves. Knows not how anybody was killed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::stand_in::is_witnessed;
use super::witness::{What, Witness};
use crate::run::{Event, Fact, Outcome, RunState, Stop};
use crate::runbook::{Direction, StepId, StepIx, Undo};

/// What a certification found.
#[derive(Debug, Clone, Serialize)]
pub struct Certificate {
    pub runbook: String,
    pub environment: Option<String>,
    pub steps: usize,
    /// How many events the run has in which nobody is killed, and in how many commits.
    pub events: u64,
    pub boundaries: usize,
    /// Of these, how many were tried.
    pub tried: usize,
    /// How many runs that were.
    pub runs: usize,
    pub took_ms: u64,
    /// Conditions that depend on what only a real run produces, and were taken to hold.
    pub assumed: Vec<String>,
    pub differences: Vec<Difference>,
    /// There were so many that the rest was not tried.
    pub given_up: bool,
}

/// A run that did not end as it should.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// Where the executor was killed; nothing, if that was not the trouble.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed: Option<Killed>,
    /// What does not hold.
    pub what: Vec<String>,
    /// The folder with the run's journal.
    pub kept: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Killed {
    /// The number of the last event that was journaled, its kind and its step.
    pub event: u64,
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    pub death: Death,
    pub way: Way,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Death {
    /// Of the executor, when its commit is durable and nothing of what it begins has begun.
    BeforeLaunch,
    Executor,
    /// And the process that begins its commands and sees them end.
    WithKeeper,
}

/// How the run is taken up afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Resume,
    Rollback,
}

/// A run at its end.
#[derive(Debug, Clone)]
pub struct Account {
    pub state: RunState,
    pub events: Vec<Event>,
    pub witness: Witness,
    /// What the stand-ins left.
    pub marks: BTreeSet<String>,
}

/// What does not hold of a run in which nobody was killed.
pub fn smooth(account: &Account) -> Vec<String> {
    let mut wrong = sound(account);
    if account.state.ended != Some(Outcome::Finished) {
        wrong.push(format!("it did not finish: {}", ending(account)));
    }
    for ix in account.state.runbook.ixs() {
        let step = account.state.runbook.step(ix);
        let began = account.began(ix, Direction::Forward);
        let wanted = usize::from(is_witnessed(step, Direction::Forward) && account.state.attempts(ix, Direction::Forward) > 0);
        if began != wanted {
            wrong.push(format!("{} began {began} times", step.id));
        }
        if (wanted == 1) != account.is_marked(ix) {
            wrong.push(format!("the mark of {} is not as it should be", step.id));
        }
    }
    wrong
}

/// What does not hold of a run that was resumed: it must end as the smooth one did.
pub fn resumed(account: &Account, smooth: &Account) -> Vec<String> {
    let mut wrong = sound(account);
    if account.state.ended != smooth.state.ended {
        wrong.push(format!("it ends otherwise: {}", ending(account)));
    }
    for ix in account.state.runbook.ixs() {
        let id = &account.state.runbook.step(ix).id;
        let (stands, stood) = (account.state.step(ix).word(), smooth.state.step(ix).word());
        if stands != stood {
            wrong.push(format!("{id} is {stands} instead of {stood}"));
        }
        for direction in Direction::ALL {
            let (began, wanted) = (account.began(ix, direction), smooth.began(ix, direction));
            if (began > 0) != (wanted > 0) {
                wrong.push(format!("{id} began {} {began} times instead of {wanted}", direction.word()));
            }
        }
    }
    if account.marks != smooth.marks {
        let differ: Vec<&str> = account.marks.symmetric_difference(&smooth.marks).map(String::as_str).collect();
        wrong.push(format!("the world is another one: {}", differ.join(", ")));
    }
    // Who was asked again, or for longer, is told so; nobody is told less.
    let told = account.told();
    let less = smooth.told().into_iter().filter(|(about, times)| told.get(about).is_none_or(|told| told < times));
    wrong.extend(
        less.filter(|((name, _), _)| name != "waiting").map(|((name, _), times)| format!("{name} was told less than {times} times")),
    );
    wrong
}

/// What does not hold of a run that was rolled back: all that took effect is taken back in reverse order of needs, as far as it can be.
pub fn rolled_back(account: &Account) -> Vec<String> {
    let mut wrong = sound(account);
    let (state, runbook) = (&account.state, &account.state.runbook);
    for ix in runbook.ixs().filter(|ix| !state.step(*ix).touched && account.began(*ix, Direction::Forward) > 0) {
        wrong.push(format!("{} took effect, and the journal says that it did not", runbook.step(ix).id));
    }
    let WayBack { undone, stops } = WayBack::of(state);
    for ix in runbook.ixs() {
        let step = runbook.step(ix);
        let is_undone = undone[ix.0 as usize] && is_witnessed(step, Direction::Undo);
        let (began, wanted) = (account.began(ix, Direction::Undo), usize::from(is_undone));
        if began != wanted {
            wrong.push(format!("{} was undone {began} times instead of {wanted}", step.id));
        }
        let stays = account.began(ix, Direction::Forward) > 0 && !is_undone;
        if stays != account.is_marked(ix) {
            wrong.push(format!("what {} did {}", step.id, if stays { "is gone" } else { "is still there" }));
        }
    }
    for ix in runbook.ixs().filter(|ix| undone[ix.0 as usize]) {
        let Some(first) = account.witness.places(What::Begin, ix, Direction::Undo).first() else { continue };
        let after = runbook.descendants(ix);
        let is_late = |other: &StepIx| account.witness.places(What::End, *other, Direction::Undo).last() > Some(first);
        for other in runbook.ixs().filter(|other| after[other.0 as usize]).filter(is_late) {
            wrong.push(format!("{} was undone before {}, which needs it", runbook.step(ix).id, runbook.step(other).id));
        }
    }
    let is_as_wanted = match &state.stopped {
        _ if stops.is_empty() => state.ended == Some(Outcome::RolledBack),
        Some(Stop::Stuck { steps }) => steps.iter().cloned().collect::<BTreeSet<_>>() == stops,
        _ => false,
    };
    if !is_as_wanted {
        let stops: Vec<&str> = stops.iter().map(|step| &**step).collect();
        let wanted = if stops.is_empty() { "be all back".to_owned() } else { format!("stop at {}", stops.join(", ")) };
        wrong.push(format!("it should {wanted}: {}", ending(account)));
    }
    let held = account.marks.iter().find(|mark| account.is_to_be_released(mark));
    if let (Some(Outcome::RolledBack), Some(held)) = (state.ended, held) {
        wrong.push(format!("something is still held: {held}"));
    }
    wrong
}

/// How far back a run can go, by its graph and by what took effect.
struct WayBack {
    /// Which steps are undone.
    undone: Vec<bool>,
    /// Those that cannot be, and at which it stops.
    stops: BTreeSet<StepId>,
}

impl WayBack {
    fn of(state: &RunState) -> WayBack {
        let runbook = &state.runbook;
        let (mut spared, mut needed) = (vec![false; runbook.steps.len()], vec![false; runbook.steps.len()]);
        let join = |all: &mut Vec<bool>, more: Vec<bool>| all.iter_mut().zip(more).for_each(|(one, other)| *one |= other);
        // What lies before a point of no return that was passed stays.
        for ix in runbook.ixs().filter(|ix| runbook.step(*ix).point_of_no_return && state.step(*ix).touched) {
            spared[ix.0 as usize] = true;
            join(&mut spared, runbook.ancestors(ix));
        }
        let target = |ix: &StepIx| state.step(*ix).touched && !spared[ix.0 as usize];
        let cannot: Vec<StepIx> = runbook.ixs().filter(target).filter(|ix| runbook.step(*ix).undo == Undo::Unknown).collect();
        // And so does what somebody needs that cannot be undone.
        cannot.iter().for_each(|ix| join(&mut needed, runbook.ancestors(*ix)));
        let is_undone = |ix: StepIx| target(&ix) && !needed[ix.0 as usize] && matches!(runbook.step(ix).undo, Undo::Act(_));
        WayBack {
            undone: runbook.ixs().map(is_undone).collect(),
            stops: cannot.iter().filter(|ix| !needed[ix.0 as usize]).map(|ix| runbook.step(*ix).id.clone()).collect(),
        }
    }
}

/// What must hold of any run.
fn sound(account: &Account) -> Vec<String> {
    let mut wrong = Vec::new();
    let (runbook, witness) = (&account.state.runbook, &account.witness);
    let started: BTreeSet<(&str, Direction, u32, &str)> = account
        .events
        .iter()
        .filter_map(|event| if let Fact::StepStarted(started) = &event.fact { Some(started) } else { None })
        .map(|started| (&*started.step, started.direction, started.attempt, &*started.key))
        .collect();
    let mut running = BTreeSet::new();
    for line in &witness.lines {
        if line.step.0 as usize >= runbook.steps.len() {
            wrong.push(format!("the witness knows a step {} that is none", line.step.0));
            return wrong;
        }
        let id = &runbook.step(line.step).id;
        let (direction, attempt) = (line.direction.word(), line.attempt);
        match line.what {
            What::Begin if !running.insert(line.step) => wrong.push(format!("two attempts of {id} overlap")),
            What::End if !running.remove(&line.step) => wrong.push(format!("{id} ended and had not begun")),
            _ => {}
        }
        if line.what == What::Begin && !started.contains(&(&**id, line.direction, line.attempt, &*line.key)) {
            wrong.push(format!("the journal does not know of attempt {attempt} {direction} of {id}"));
        }
    }
    wrong.extend(running.iter().map(|ix| format!("{} never ended", runbook.step(*ix).id)));
    wrong.extend(account.state.notices.owed.iter().map(|owed| format!("nobody was told of {}", owed.name)));
    for ix in runbook.ixs() {
        let step = runbook.step(ix);
        for direction in Direction::ALL {
            let began = account.began(ix, direction);
            if began > 1 && step.act(direction).is_some_and(|act| !act.idempotent) {
                wrong.push(format!("{} is not idempotent and began {} {began} times", step.id, direction.word()));
            }
        }
        let Some(first) = witness.places(What::Begin, ix, Direction::Forward).first().copied() else { continue };
        let before = runbook.ancestors(ix);
        for need in runbook.ixs().filter(|need| before[need.0 as usize]) {
            if witness.places(What::End, need, Direction::Forward).last().is_some_and(|end| *end > first) {
                wrong.push(format!("{} began before {}, which it needs, was done", step.id, runbook.step(need).id));
            }
        }
    }
    wrong
}

fn ending(account: &Account) -> String {
    match (&account.state.ended, &account.state.stopped) {
        (Some(outcome), _) => format!("it is {}", serde_json::to_value(outcome).unwrap_or_default().as_str().unwrap_or_default()),
        (None, Some(stop)) => format!("it stopped: {}", serde_json::to_value(stop).unwrap_or_default()),
        (None, None) => "nobody went on with it".to_owned(),
    }
}

impl Account {
    /// How often a step began in one direction.
    fn began(&self, ix: StepIx, direction: Direction) -> usize {
        self.witness.places(What::Begin, ix, direction).len()
    }

    /// How often people were told of what, and of which phase or step.
    fn told(&self) -> BTreeMap<(String, Option<String>), usize> {
        let mut told = BTreeMap::new();
        for event in &self.events {
            let Fact::MessageSent(sent) = &event.fact else { continue };
            let place = sent.phase.clone().or(sent.step.as_ref().map(ToString::to_string));
            *told.entry((sent.occasion.clone(), place)).or_default() += 1;
        }
        told
    }

    /// Whether this mark says that something is held which a stand-in releases: people leave no mark, and take none away.
    fn is_to_be_released(&self, mark: &str) -> bool {
        let step = || mark.strip_suffix(".held").and_then(|number| self.state.runbook.steps.get(number.parse::<usize>().ok()?));
        mark.ends_with(".held") && step().is_none_or(|step| is_witnessed(step, Direction::Release))
    }

    fn is_marked(&self, ix: StepIx) -> bool {
        self.marks.contains(&format!("{}.done", ix.0))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::rehearsal::world::first;
    use crate::run::{Moment, Person, StepStarted, StepSucceeded};
    use crate::runbook::{Action, Runbook};

    /// `p/b` needs `p/a`; `p/c` needs nobody, and can be undone only if `c` says so.
    fn book(c: &str) -> Runbook {
        let act = json!({ "action": { "run": { "command": { "script": { "shell": ["sh"], "script": "" } } } }, "idempotent": false });
        let step = |id: &str, needs: &[u32], undo: serde_json::Value| json!({ "id": id, "line": 1, "file": "book.yaml", "phase": 0, "scope": 0, "needs": needs, "act": act, "undo": undo });
        let steps = [step("p/a", &[], json!({ "act": act })), step("p/b", &[0], json!({ "act": act })), step("p/c", &[], json!(c))];
        let book = json!({
            "name": "r", "file": "book.yaml", "locks": [], "scopes": [{ "parameters": {} }], "occasions": {}, "templates": {},
            "phases": [{ "id": "p" }], "groups": [], "steps": steps,
        });
        serde_json::from_value::<Runbook>(book).unwrap().with_index()
    }

    /// A run whose journal has these attempts, each once, and ends so; and whose stand-ins wrote this down.
    fn account(c: &str, journal: &[(u32, Direction)], end: Fact, witness: &str, marks: &[&str]) -> Account {
        let runbook = Arc::new(book(c));
        let begun = first(&runbook, Moment::default());
        let mut state = RunState::new(Arc::clone(&runbook), &begun).unwrap();
        let mut events = vec![begun];
        let mut add = |fact: Fact| {
            let event = Event { number: state.head + 1, at: Moment::default(), fact };
            state.apply(&event).unwrap();
            events.push(event);
        };
        let mut is_back = false;
        for &(ix, direction) in journal {
            if direction == Direction::Undo && !std::mem::replace(&mut is_back, true) {
                add(Fact::RollbackBegan { to: None, because: "x".into(), actor: Person::default(), force: false });
            }
            let (step, action) = (Arc::clone(&runbook.step(StepIx(ix)).id), Box::new(Action::Join));
            add(Fact::StepStarted(StepStarted {
                step: step.clone(),
                direction,
                attempt: 1,
                key: "k".into(),
                action,
                env: Default::default(),
            }));
            let result = String::new();
            let (outputs, secrets, logs) = Default::default();
            add(Fact::StepSucceeded(StepSucceeded { step, direction, attempt: 1, outputs, result, secrets, logs }));
        }
        add(end);
        let line = |text: &str| format!("begin {text} 1 k\nend {text} 1 k\n");
        let witness = Witness::read(&witness.split(", ").filter(|text| !text.is_empty()).map(line).collect::<String>()).unwrap();
        Account { state, events, witness, marks: marks.iter().map(|mark| (*mark).to_owned()).collect() }
    }

    const FORTH: [(u32, Direction); 3] = [(0, Direction::Forward), (1, Direction::Forward), (2, Direction::Forward)];
    const BACK: [(u32, Direction); 2] = [(1, Direction::Undo), (0, Direction::Undo)];

    fn forth(witness: &str, marks: &[&str]) -> Account {
        account("nothing", &FORTH, Fact::RunEnded { outcome: Outcome::Finished }, witness, marks)
    }

    fn back(witness: &str, marks: &[&str]) -> Vec<String> {
        let c_passed = [&FORTH[..2], &BACK[..]].concat();
        rolled_back(&account("nothing", &c_passed, Fact::RunEnded { outcome: Outcome::RolledBack }, witness, marks))
    }

    #[test]
    fn a_run_that_is_as_it_should_be_has_no_differences() {
        let all = forth("0 forward, 1 forward, 2 forward", &["0.done", "1.done", "2.done"]);
        assert_eq!((smooth(&all), resumed(&all, &all)), (vec![], vec![]));
        assert_eq!(back("0 forward, 1 forward, 1 undo, 0 undo", &[]), [""; 0]);
    }

    #[test]
    fn what_happens_twice_never_or_too_early_is_seen() {
        let marks = ["0.done", "1.done", "2.done"];
        let all = forth("0 forward, 1 forward, 2 forward", &marks);
        for (witness, wrong) in [
            ("0 forward, 1 forward, 2 forward, 2 forward", "p/c is not idempotent and began forward 2 times"),
            ("0 forward, 1 forward", "p/c began forward 0 times instead of 1"),
            ("1 forward, 0 forward, 2 forward", "p/b began before p/a, which it needs, was done"),
            ("0 forward, 1 forward, 2 forward, 2 undo", "the journal does not know of attempt 1 undo of p/c"),
        ] {
            let found = resumed(&forth(witness, &marks), &all);
            assert!(found.iter().any(|found| found == wrong), "{witness}: {found:?}");
            assert!(!smooth(&forth(witness, &marks)).is_empty(), "{witness}");
        }
        assert_eq!(resumed(&forth("0 forward, 1 forward, 2 forward", &marks[1..]), &all), ["the world is another one: 0.done"]);
    }

    #[test]
    fn what_is_not_taken_back_or_in_a_wrong_order_is_seen() {
        for (witness, marks, wrong) in [
            ("0 forward, 1 forward, 0 undo, 1 undo", &[][..], "p/a was undone before p/b, which needs it"),
            ("0 forward, 1 forward, 0 undo", &[], "p/b was undone 0 times instead of 1"),
            ("0 forward, 1 forward, 1 undo, 0 undo, 0 undo", &[], "p/a was undone 2 times instead of 1"),
            ("0 forward, 1 forward, 1 undo, 0 undo", &["0.done"], "what p/a did is still there"),
            ("0 forward, 1 forward, 2 forward, 1 undo, 0 undo", &["2.done"], "p/c took effect, and the journal says that it did not"),
        ] {
            let found = back(witness, marks);
            assert!(found.iter().any(|found| found == wrong), "{witness}: {found:?}");
        }
        // What cannot be undone is where it has to stop.
        let stuck = |step: &str| Fact::RunStopped { because: Stop::Stuck { steps: vec![step.into()] } };
        let journal = [&FORTH[..], &BACK[..]].concat();
        let run = |end: Fact| account("unknown", &journal, end, "0 forward, 1 forward, 2 forward, 1 undo, 0 undo", &["2.done"]);
        assert_eq!(rolled_back(&run(stuck("p/c"))), [""; 0]);
        assert_eq!(rolled_back(&run(stuck("p/a"))), ["it should stop at p/c: it stopped: {\"stop\":\"stuck\",\"steps\":[\"p/a\"]}"]);
    }
}
