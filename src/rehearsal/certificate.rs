//! What must hold of a run whose executor was killed on the way, however it was taken up: held against what the stand-ins wrote
//! down themselves. Knows not how anybody was killed.

use std::collections::BTreeSet;

use serde::Serialize;

use super::stand_in::is_witnessed;
use super::witness::{What, Witness};
use crate::run::{Event, Fact, Outcome, RunState, Stop};
use crate::runbook::{Direction, StepIx, Undo};

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
    wrong
}

/// What does not hold of a run that was rolled back: all that took effect is taken back in reverse order of needs, as far as it can be.
pub fn rolled_back(account: &Account) -> Vec<String> {
    let mut wrong = sound(account);
    let state = &account.state;
    let runbook = &state.runbook;
    let touched: Vec<bool> = runbook.ixs().map(|ix| state.step(ix).touched).collect();
    let is_touched = |ix: StepIx| touched[ix.0 as usize];
    for ix in runbook.ixs().filter(|ix| !is_touched(*ix) && account.began(*ix, Direction::Forward) > 0) {
        wrong.push(format!("{} took effect, and the journal says that it did not", runbook.step(ix).id));
    }
    // What lies before a point of no return that was passed stays, and so does what somebody needs that cannot be undone.
    let (mut spared, mut needed) = (vec![false; touched.len()], vec![false; touched.len()]);
    let join = |all: &mut Vec<bool>, more: Vec<bool>| all.iter_mut().zip(more).for_each(|(one, other)| *one |= other);
    for ix in runbook.ixs().filter(|ix| runbook.step(*ix).point_of_no_return && is_touched(*ix)) {
        spared[ix.0 as usize] = true;
        join(&mut spared, runbook.ancestors(ix));
    }
    let cannot: Vec<StepIx> =
        runbook.ixs().filter(|ix| is_touched(*ix) && !spared[ix.0 as usize] && runbook.step(*ix).undo == Undo::Unknown).collect();
    for ix in &cannot {
        join(&mut needed, runbook.ancestors(*ix));
    }
    let mut undone = vec![false; touched.len()];
    for ix in runbook.ixs() {
        let (step, at) = (runbook.step(ix), ix.0 as usize);
        undone[at] = is_touched(ix) && !spared[at] && !needed[at] && matches!(step.undo, Undo::Act(_));
        let wanted = usize::from(undone[at] && is_witnessed(step, Direction::Undo));
        let began = account.began(ix, Direction::Undo);
        if began != wanted {
            wrong.push(format!("{} was undone {began} times instead of {wanted}", step.id));
        }
        let stays = account.began(ix, Direction::Forward) > 0 && !(undone[at] && is_witnessed(step, Direction::Undo));
        if stays != account.is_marked(ix) {
            wrong.push(format!("what {} did {}", step.id, if stays { "is gone" } else { "is still there" }));
        }
    }
    for ix in runbook.ixs().filter(|ix| undone[ix.0 as usize]) {
        let first = account.witness.places(What::Begin, ix, Direction::Undo).first().copied();
        let after = runbook.descendants(ix);
        let late = |other: &StepIx| account.witness.places(What::End, *other, Direction::Undo).last().copied() > first;
        for other in runbook.ixs().filter(|other| after[other.0 as usize] && first.is_some()).filter(late) {
            wrong.push(format!("{} was undone before {}, which needs it", runbook.step(ix).id, runbook.step(other).id));
        }
    }
    let first: BTreeSet<&str> = cannot.iter().filter(|ix| !needed[ix.0 as usize]).map(|ix| &*runbook.step(*ix).id).collect();
    let is_as_wanted = match &state.stopped {
        _ if first.is_empty() => state.ended == Some(Outcome::RolledBack),
        Some(Stop::Stuck { steps }) => steps.iter().map(|step| &**step).collect::<BTreeSet<_>>() == first,
        _ => false,
    };
    if !is_as_wanted {
        let wanted = if first.is_empty() {
            "be all back".to_owned()
        } else {
            format!("stop at {}", first.into_iter().collect::<Vec<_>>().join(", "))
        };
        wrong.push(format!("it should {wanted}: {}", ending(account)));
    }
    if state.ended == Some(Outcome::RolledBack)
        && let Some(held) = account.marks.iter().find(|mark| mark.ends_with(".held"))
    {
        wrong.push(format!("something is still held: {held}"));
    }
    wrong
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

    fn is_marked(&self, ix: StepIx) -> bool {
        self.marks.contains(&format!("{}.done", ix.0))
    }
}
