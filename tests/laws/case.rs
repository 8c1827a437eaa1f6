//! What is tried, and what came of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use switchover::run::*;
use switchover::runbook::{Direction, OnFailure, Runbook, Step};

use super::drawn::{Drawn, Looked};

/// What is tried.
#[derive(Clone)]
pub struct Case {
    pub book: Arc<Runbook>,
    pub idempotent: bool,
    /// The step whose first attempt fails, having had its effect.
    pub fails: Option<usize>,
    /// The step whose first undo fails.
    pub undo_fails: Option<usize>,
    pub after: After,
    pub orphans: Orphans,
    /// Which of two running actions ends first.
    pub newest_first: bool,
    /// The operator says of what stands after a failure that it was done in part.
    pub in_part: bool,
    pub point: Option<Point>,
    /// The definition with which the second session goes on.
    pub amended: Option<Arc<Runbook>>,
    /// What no small graph has.
    pub drawn: Option<Drawn>,
    pub fault: Fault,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let needs_of: Vec<_> = self.book.steps.iter().map(|step| needs(&self.book, step)).collect();
        let (idempotent, fails, undo_fails, after) =
            (self.idempotent, self.fails, self.undo_fails, self.after);
        let (on_failure, orphans, newest, fault) =
            (self.book.steps[0].on_failure, self.orphans, self.newest_first, self.fault);
        write!(
            out,
            "needs {needs_of:?}, idempotent {idempotent}, fails {fails:?}, undo \
             fails {undo_fails:?}, then {after:?}, "
        )?;
        write!(
            out,
            "on failure {on_failure:?}, orphans {orphans:?}, newest first {newest}, \
             fault {fault:?}, "
        )?;
        let amended = self.amended.as_ref().map(|book| {
            book.steps.iter().map(|step| (number(step), needs(book, step))).collect::<Vec<_>>()
        });
        write!(
            out,
            "in part {}, point {:?}, amended {amended:?}, {:?}",
            self.in_part, self.point, self.drawn
        )
    }
}

/// A point of no return.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub step: usize,
    pub word: Word,
    /// The operator's rollbacks pass it.
    pub force: bool,
}

/// When somebody lets the point be passed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Word {
    Beforehand,
    WhenAsked,
    /// Asked twice, the operator goes back.
    Never,
}

/// The number of a step, which it keeps in every definition. An index may change, and a line means
/// nothing.
pub fn number(step: &Step) -> usize {
    step.line as usize
}

/// The numbers of the steps that this one needs.
pub fn needs(book: &Runbook, step: &Step) -> Vec<usize> {
    step.needs.iter().map(|need| number(book.step(*need))).collect()
}

/// What becomes of commands that outlive a crash of their executor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Orphans {
    /// They die with it, without an effect.
    Die,
    /// They come to their end, and nobody knows.
    Finish,
    /// Their keeper records how they end, and that a command never began.
    AreRecorded,
    /// They go on, and the next executor watches them.
    GoOn,
}

/// What the operator does after a failure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum After {
    Rollback,
    Resume,
}

/// A deliberate fault of the executor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    ActsBeforeTheJournal,
    RepeatsWhatIsInDoubt,
    IgnoresDependentsOnUndo,
    UndoesTwice,
    GoesForwardAfterRollback,
    StartsBeforeNeeds,
    PassesOverAFailedStep,
    TakesUnknownForDone,
    BeginsAnewWithoutUndo,
    PassesAPointUnasked,
    GoesBackPastAPoint,
    WaitsWhileSomethingCanGo,
    AmendsWhatHasBegun,
    ForgetsAtAnAmendment,
    RefusesTheSame,
    BeginsBesideTheLiving,
    GoesOnUnheld,
    NeverReleases,
    RepeatsTooEarly,
    RepeatsTooOften,
    RepeatsWhatMayHaveHappened,
    TakesSilenceForNo,
    LooksAtTheLiving,
    OverfillsAGroup,
    ToleratesTooMany,
    IgnoresAConditionThatFails,
    SkipsWhatHolds,
    ForgetsThatItStopped,
    StopsUnwritten,
    ActsAfterAFailedCommit,
    LooksAndChanges,
    TellsTwice,
    LosesWhatIsOwedAtAnAmendment,
}

/// What a witness outside the executor saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    pub step: usize,
    pub direction: Direction,
    pub attempt: u32,
    pub begins: bool,
    /// How many events were durable at that moment.
    pub journaled: usize,
}

#[derive(Default)]
pub struct History {
    pub journal: Vec<Event>,
    pub world: Vec<Seen>,
    /// The steps whose effect stands at the end.
    pub effects: BTreeSet<usize>,
    pub points: usize,
    pub outcome: Option<Outcome>,
    /// How many events were durable when an amendment was refused.
    pub refused: Option<usize>,
    pub interrupted: bool,
    /// What probes truly answered.
    pub looked: Vec<Looked>,
    /// What people were told.
    pub told: Vec<Told>,
    /// How many executors there were.
    pub sessions: usize,
}

/// A message that reached people.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub occasion: &'static str,
    /// The number of the fact of which it tells.
    pub of: u64,
    /// How many events were durable at that moment, and which executor it was.
    pub journaled: usize,
    pub session: usize,
}

impl std::fmt::Debug for History {
    /// A line for each event, then one for each thing that the witness saw.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for event in &self.journal {
            writeln!(
                out,
                "{:>4}  {}",
                event.number,
                serde_json::to_string(&event.fact).unwrap_or_default()
            )?;
        }
        for seen in &self.world {
            writeln!(
                out,
                "      {} s{} {} attempt {}",
                if seen.begins { "begins" } else { "ends  " },
                seen.step,
                seen.direction.word(),
                seen.attempt
            )?;
        }
        writeln!(out, "      effects {:?}, {:?}", self.effects, self.outcome)
    }
}

/// Whether a failure of a step lets the others go on.
pub fn goes_on(case: &Case) -> bool {
    case.book.steps[0].on_failure == OnFailure::Continue
}
