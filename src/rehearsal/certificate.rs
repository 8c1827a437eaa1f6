//! What must hold of a run whose executor was killed on the way, however it was taken up: an
//! account of its own, by what the stand-ins wrote down themselves, the graph and the journal's
//! events. Knows neither state nor planner, nor how anybody was killed.

mod attempts;
mod ledger;
#[cfg(test)]
mod tests;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::stand_in::{StandIn, is_witnessed};
use super::witness::{What, Witness};
use crate::run::{Event, Fact, Outcome, Stop};
use crate::runbook::{Direction, Runbook, StepId, StepIx, StepMap, Undo};
use ledger::{End, Ledger, Word};

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
    /// What was to be carried out, as it was given to the executor.
    pub runbook: Arc<Runbook>,
    /// The steps that a condition rules out, whatever happens.
    pub ruled_out: BTreeSet<StepIx>,
    pub events: Vec<Event>,
    pub witness: Witness,
    /// What the stand-ins left.
    pub marks: BTreeSet<String>,
}

/// What does not hold of a run in which nobody was killed.
pub fn smooth(account: &Account) -> Vec<String> {
    let ledger = account.ledger();
    let mut wrong = sound(account, &ledger);
    if ledger.end != End::Over(Outcome::Finished) {
        wrong.push(format!("it did not finish: {}", ending(&ledger)));
    }
    for ix in account.runbook.ixs() {
        let (step, is_ruled_out) = (account.runbook.step(ix), account.ruled_out.contains(&ix));
        let (word, wanted) = (
            ledger.word(&step.id, Direction::Forward),
            if is_ruled_out { Word::Skipped } else { Word::Done },
        );
        if word != wanted {
            wrong.push(format!("{} is {} instead of {}", step.id, word.words(), wanted.words()));
        }
        for direction in Direction::ALL {
            let is_due = match direction {
                Direction::Forward | Direction::Release => {
                    !is_ruled_out && is_witnessed(step, direction)
                }
                Direction::Undo => false,
            };
            let (began, wanted) = (account.began(ix, direction), usize::from(is_due));
            if began != wanted {
                wrong.push(format!(
                    "{} began {} {began} times instead of {wanted}",
                    step.id,
                    direction.word()
                ));
            }
        }
        if (!is_ruled_out && is_witnessed(step, Direction::Forward)) != account.is_marked(ix) {
            wrong.push(format!("the mark of {} is not as it should be", step.id));
        }
    }
    wrong.extend(account.held());
    wrong
}

/// What does not hold of a run that was resumed: it must end as the smooth one did.
pub fn resumed(account: &Account, smooth: &Account) -> Vec<String> {
    let (ledger, was) = (account.ledger(), smooth.ledger());
    let mut wrong = sound(account, &ledger);
    if ledger.end != was.end {
        wrong.push(format!("it ends otherwise: {}", ending(&ledger)));
    }
    for ix in account.runbook.ixs() {
        let id = &account.runbook.step(ix).id;
        for direction in Direction::ALL {
            let (stands, stood) = (ledger.word(id, direction), was.word(id, direction));
            if stands != stood {
                wrong.push(format!(
                    "{id}, {}, is {} instead of {}",
                    direction.word(),
                    stands.words(),
                    stood.words()
                ));
            }
            let (began, wanted) = (account.began(ix, direction), smooth.began(ix, direction));
            if (began > 0) != (wanted > 0) {
                wrong.push(format!(
                    "{id} began {} {began} times instead of {wanted}",
                    direction.word()
                ));
            }
        }
    }
    if account.marks != smooth.marks {
        let differ: Vec<&str> =
            account.marks.symmetric_difference(&smooth.marks).map(String::as_str).collect();
        wrong.push(format!("the world is another one: {}", differ.join(", ")));
    }
    // Who was asked again, or for longer, is told so; nobody is told less.
    let told = account.told();
    let less = smooth
        .told()
        .into_iter()
        .filter(|(about, times)| told.get(about).is_none_or(|told| told < times));
    wrong.extend(
        less.filter(|((name, _), _)| name != "waiting")
            .map(|((name, _), times)| format!("{name} was told less than {times} times")),
    );
    wrong
}

/// What does not hold of a run that was rolled back: all that took effect is taken back in reverse
/// order of needs, as far as it can be.
pub fn rolled_back(account: &Account) -> Vec<String> {
    let ledger = account.ledger();
    let mut wrong = sound(account, &ledger);
    let runbook = &account.runbook;
    for step in runbook
        .ixs()
        .filter(|ix| account.began(*ix, Direction::Forward) > 0)
        .map(|ix| runbook.step(ix))
    {
        if !ledger.may_have_effect(&step.id) {
            wrong.push(format!("{} took effect, and the journal says that it did not", step.id));
        }
    }
    let WayBack { undone, stops } = WayBack::of(account, &ledger);
    for ix in runbook.ixs() {
        let (step, is_undone, word) =
            (runbook.step(ix), undone[ix], ledger.word(&runbook.step(ix).id, Direction::Undo));
        if is_undone && word != Word::Done {
            wrong.push(format!("{}, undo, is {} instead of done", step.id, word.words()));
        }
        let is_undone = is_undone && is_witnessed(step, Direction::Undo);
        let (began, wanted) = (account.began(ix, Direction::Undo), usize::from(is_undone));
        if began != wanted {
            wrong.push(format!("{} was undone {began} times instead of {wanted}", step.id));
        }
        let stays = account.began(ix, Direction::Forward) > 0 && !is_undone;
        if stays != account.is_marked(ix) {
            wrong.push(format!(
                "what {} did {}",
                step.id,
                if stays { "is gone" } else { "is still there" }
            ));
        }
    }
    for ix in runbook.ixs().filter(|ix| undone[*ix]) {
        let Some(first) = account.witness.places(What::Begin, ix, Direction::Undo).first() else {
            continue;
        };
        let after = runbook.descendants(ix);
        let is_late = |other: &StepIx| {
            account.witness.places(What::End, *other, Direction::Undo).last() > Some(first)
        };
        for other in runbook.ixs().filter(|other| after[*other]).filter(is_late) {
            wrong.push(format!(
                "{} was undone before {}, which needs it",
                runbook.step(ix).id,
                runbook.step(other).id
            ));
        }
    }
    let is_as_wanted = match &ledger.end {
        End::Over(outcome) => stops.is_empty() && *outcome == Outcome::RolledBack,
        End::Stopped(Stop::Stuck { steps }) => {
            !stops.is_empty() && steps.iter().cloned().collect::<BTreeSet<_>>() == stops
        }
        _ => false,
    };
    if !is_as_wanted {
        let stops: Vec<&str> = stops.iter().map(|step| &**step).collect();
        let wanted = if stops.is_empty() {
            "be all back".to_owned()
        } else {
            format!("stop at {}", stops.join(", "))
        };
        wrong.push(format!("it should {wanted}: {}", ending(&ledger)));
    }
    if ledger.end == End::Over(Outcome::RolledBack) {
        wrong.extend(account.held());
    }
    wrong
}

/// How far back a run can go, by its graph and by what took effect.
struct WayBack {
    /// Which steps are undone.
    undone: StepMap<bool>,
    /// Those that cannot be, and at which it stops.
    stops: BTreeSet<StepId>,
}

impl WayBack {
    fn of(account: &Account, ledger: &Ledger) -> WayBack {
        let runbook = &account.runbook;
        // The witness knows who began; of people and messages, and of what may not have begun, only
        // the journal does.
        let touched = |ix: StepIx| {
            account.began(ix, Direction::Forward) > 0
                || ledger.may_have_effect(&runbook.step(ix).id)
        };
        let (mut spared, mut needed) = (
            StepMap::filled(false, runbook.steps.len()),
            StepMap::filled(false, runbook.steps.len()),
        );
        let join = |all: &mut StepMap<bool>, more: StepMap<bool>| {
            all.iter_mut().zip(more).for_each(|(one, other)| *one |= other)
        };
        // What lies before a point of no return that was passed stays.
        for ix in runbook.ixs().filter(|ix| runbook.step(*ix).point_of_no_return && touched(*ix)) {
            spared[ix] = true;
            join(&mut spared, runbook.ancestors(ix));
        }
        let target = |ix: &StepIx| touched(*ix) && !spared[*ix];
        let cannot: Vec<StepIx> = runbook
            .ixs()
            .filter(target)
            .filter(|ix| runbook.step(*ix).undo == Undo::Unknown)
            .collect();
        // And so does what somebody needs that cannot be undone.
        cannot.iter().for_each(|ix| join(&mut needed, runbook.ancestors(*ix)));
        let is_undone = |ix: StepIx| {
            target(&ix) && !needed[ix] && matches!(runbook.step(ix).undo, Undo::Act(_))
        };
        WayBack {
            undone: runbook.ixs().map(is_undone).collect(),
            stops: cannot
                .iter()
                .filter(|ix| !needed[**ix])
                .map(|ix| runbook.step(*ix).id.clone())
                .collect(),
        }
    }
}

/// What must hold of any run.
fn sound(account: &Account, ledger: &Ledger) -> Vec<String> {
    let steps = account.runbook.steps.len();
    if let Some(line) = account.witness.lines.iter().find(|line| line.step.0 as usize >= steps) {
        return vec![format!("the witness knows a step {} that is none", line.step.0)];
    }
    let mut wrong = attempts::wrong(account);
    wrong.extend(needs(account, ledger));
    wrong.extend(told::wrong(account, ledger));
    for ix in account.runbook.ixs() {
        let (step, is_ruled_out) = (account.runbook.step(ix), account.ruled_out.contains(&ix));
        if is_ruled_out
            && (account.began(ix, Direction::Forward) > 0 || ledger.may_have_effect(&step.id))
        {
            wrong.push(format!("{} began, and its condition does not hold", step.id));
        }
        if !is_ruled_out && ledger.word(&step.id, Direction::Forward) == Word::Skipped {
            wrong.push(format!("{} was skipped, and nothing rules it out", step.id));
        }
    }
    wrong
}

/// Who began before what it needs was done: by the journal's order, which has every step, and by
/// the witness's, which nobody decides.
fn needs(account: &Account, ledger: &Ledger) -> Vec<String> {
    let (runbook, mut wrong) = (&account.runbook, Vec::new());
    for event in &account.events {
        let Fact::StepStarted(started) = &event.fact else { continue };
        let Some(ix) = runbook.find(&started.step) else {
            wrong.push(format!("the journal knows a step {} that is none", started.step));
            continue;
        };
        let is_early = |need: &&StepIx| {
            ledger.settled(&runbook.step(**need).id).is_none_or(|at| at > event.number)
        };
        if started.direction == Direction::Forward {
            let early =
                runbook.step(ix).needs.iter().filter(is_early).map(|need| &runbook.step(*need).id);
            wrong.extend(early.map(|need| {
                format!("{} was started before {need}, which it needs, was done", started.step)
            }));
        }
    }
    for ix in runbook.ixs() {
        let Some(first) = account.witness.places(What::Begin, ix, Direction::Forward).first()
        else {
            continue;
        };
        let before = runbook.ancestors(ix);
        let writes = |need: &StepIx| {
            !account.ruled_out.contains(need)
                && is_witnessed(runbook.step(*need), Direction::Forward)
        };
        let is_late = |need: &StepIx| {
            account
                .witness
                .places(What::End, *need, Direction::Forward)
                .last()
                .is_none_or(|end| end > first)
        };
        let late = runbook.ixs().filter(|need| before[*need]).filter(writes).filter(is_late);
        wrong.extend(late.map(|need| {
            format!(
                "{} began before {}, which it needs, was done",
                runbook.step(ix).id,
                runbook.step(need).id
            )
        }));
    }
    wrong
}

fn ending(ledger: &Ledger) -> String {
    let word = |value: serde_json::Result<serde_json::Value>| match value {
        Ok(serde_json::Value::String(word)) => word,
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    };
    match &ledger.end {
        End::Over(outcome) => format!("it is {}", word(serde_json::to_value(outcome))),
        End::Stopped(stop) => format!("it stopped: {}", word(serde_json::to_value(stop))),
        End::Nobody => "nobody went on with it".to_owned(),
    }
}

impl Account {
    /// The account of a run of these stand-ins.
    pub fn of(
        stand_in: &StandIn,
        events: Vec<Event>,
        witness: Witness,
        marks: BTreeSet<String>,
    ) -> Account {
        let (runbook, ruled_out) = (Arc::clone(&stand_in.runbook), stand_in.ruled_out.clone());
        Account { runbook, ruled_out, events, witness, marks }
    }

    /// The number of the last event.
    pub fn head(&self) -> u64 {
        self.events.last().map_or(0, |event| event.number)
    }

    fn ledger(&self) -> Ledger {
        Ledger::of(&self.events)
    }

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

    /// What a run that is over still holds, though a stand-in releases it: people leave no mark,
    /// and take none away.
    fn held(&self) -> impl Iterator<Item = String> {
        let is_to_be_released = |mark: &&String| {
            let step = || {
                mark.strip_suffix(".held")
                    .and_then(|number| self.runbook.steps.get(number.parse::<usize>().ok()?))
            };
            mark.ends_with(".held")
                && step().is_none_or(|step| is_witnessed(step, Direction::Release))
        };
        self.marks
            .iter()
            .filter(is_to_be_released)
            .map(|mark| format!("something is still held: {mark}"))
    }

    fn is_marked(&self, ix: StepIx) -> bool {
        self.marks.contains(&format!("{}.done", ix.0))
    }
}
