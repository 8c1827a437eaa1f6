//! Where a rehearsed run ended, and what is to be known of that.

use serde::Serialize;

use super::mishap::Mishap;
use super::world::Lived;
use crate::run::{Fact, Outcome, Stop};
use crate::runbook::{Span, Undo};

/// One rehearsed run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Case {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mishap: Option<Mishap>,
    pub ends: Ending,
    /// What people were asked or had to decide on the way.
    pub asked: Vec<String>,
    /// Steps whose change stays.
    pub stays: Vec<String>,
    pub took_ms: u64,
    /// How long the way back took, if the run went back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_ms: Option<u64>,
    pub down_ms: u64,
    /// Whether production is down at the end, and so for longer than is known.
    pub ends_down: bool,
    /// Whether the mishap came to pass at all.
    pub came: bool,
    /// What people were told, in order.
    pub told: Vec<Told>,
    /// The budgets that were exceeded.
    pub over: Vec<String>,
}

/// A message that people got.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// As in the journal: `start`, `phase_start`, `notify`, …
    pub occasion: String,
    /// The phase or the step it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Who gets it; nobody by name, if it only goes to the outbox.
    pub to: Vec<String>,
    pub subject: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Finished,
    RolledBack,
    /// It waits for an answer.
    Waits,
    /// An undo failed, or there is none.
    Stuck,
}

impl Case {
    pub fn of(mishap: Option<Mishap>, lived: &Lived) -> Case {
        let state = &lived.state;
        let ends = match (state.ended, &state.stopped) {
            (Some(Outcome::Finished), _) => Ending::Finished,
            (Some(Outcome::RolledBack | Outcome::Cancelled), _) => Ending::RolledBack,
            (None, Some(Stop::Waiting { .. })) => Ending::Waits,
            (None, _) => Ending::Stuck,
        };
        let runbook = &state.runbook;
        let changed = |ix: &crate::runbook::StepIx| {
            let step = runbook.step(*ix);
            state.step(*ix).touched
                && step.undo != Undo::Nothing
                && !step.act.action.only_reads()
                && state.step(*ix).word() != "undone"
        };
        let stays = match ends {
            Ending::Finished => Vec::new(),
            _ => runbook.ixs().filter(changed).map(|ix| runbook.step(ix).id.to_string()).collect(),
        };
        let back = state.rollback.as_ref().map(|rollback| state.last.since(rollback.began));
        let down = state.downtime_until(state.last);
        let budgets = runbook.budgets;
        let over = [
            ("rollback", budgets.rollback, back.unwrap_or_default()),
            ("downtime", budgets.downtime, down),
            ("duration", budgets.duration, state.last.since(state.began)),
        ];
        let ends_down = state.down_since.is_some();
        // Nobody knows when it is up again, but that a person has to see to it first.
        let is_over =
            |name: &str, limit: Span, spent: Span| spent > limit || ends_down && name == "downtime";
        let over = over.into_iter().filter(|(name, budget, spent)| {
            budget.is_some_and(|budget| is_over(name, budget.limit, *spent))
        });
        Case {
            mishap,
            ends,
            asked: lived.asked.clone(),
            stays,
            took_ms: state.last.since(state.began).as_millis(),
            back_ms: back.map(Span::as_millis),
            down_ms: down.as_millis(),
            ends_down,
            came: lived.came,
            told: told(lived),
            over: over.map(|(name, ..)| name.to_owned()).collect(),
        }
    }
}

impl Case {
    /// Nothing goes on until a person has mended or resolved something.
    pub fn is_stuck(&self) -> bool {
        self.ends == Ending::Stuck
    }

    /// The mishap is that an undo or a release fails: then a person has to mend it in any case.
    pub fn is_of_the_way_out(&self) -> bool {
        self.mishap.as_ref().is_some_and(Mishap::is_of_the_way_out)
    }

    /// Whether a person had to decide something on the way.
    pub fn asks(&self) -> bool {
        !self.asked.is_empty()
    }

    pub fn exceeds(&self, budget: &str) -> bool {
        self.over.iter().any(|over| over == budget)
    }
}

/// The messages of a run.
pub fn told(lived: &Lived) -> Vec<Told> {
    let told = lived.events.iter().filter_map(|event| match &event.fact {
        Fact::MessageSent(message) => Some(Told {
            at_ms: event.at.since(lived.state.began).as_millis(),
            occasion: message.occasion.clone(),
            about: message.step.as_deref().or(message.phase.as_deref()).map(str::to_owned),
            to: message.to.clone(),
            subject: message.subject.clone(),
        }),
        _ => None,
    });
    told.collect()
}

impl std::fmt::Display for Ending {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Ending::Finished => "finished",
            Ending::RolledBack => "rolled back",
            Ending::Waits => "waits",
            Ending::Stuck => "stuck",
        })
    }
}
