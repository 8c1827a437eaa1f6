//! What is to be known of an action without carrying it out. Each kind of action fills in all of
//! it, so that nobody else decides such a thing by the kind. Knows nothing of who asks.

use super::{http, run, shift, sql};
use crate::runbook::{Shape, Span};

/// What is to be known of one action.
#[derive(Debug)]
pub struct Facts<'a, T> {
    /// Whether it changes nothing outside, so that there is nothing to undo and repeating it is
    /// harmless.
    pub only_reads: bool,
    /// Whether it can serve as a reading: it only reads, or it is a command, whose author says so.
    pub can_be_a_reading: bool,
    /// Whether doing it again by itself does no harm, unless its author says otherwise.
    pub is_idempotent: bool,
    pub done_by: DoneBy,
    pub inverse: Inverse,
    /// Whether it is such an inverse: it goes by what the way forward found and reached.
    pub takes_back: bool,
    /// The names of its result, in groups.
    pub results: Results,
    pub lasts: Lasts<'a, T>,
    /// Whether nothing but a timeout ends it if nobody answers.
    pub may_hang: bool,
    pub commands: Commands,
    /// Whether what its command says is kept in the attempt's files.
    pub has_logs: bool,
    /// Whether it decides conditions of its own while it goes on, and so needs the names in scope.
    pub decides: bool,
    pub dry_run: InDryRun,
}

/// Who carries an action out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoneBy {
    /// The program, in the world outside.
    Program,
    /// A person, who is asked.
    Person(Asked),
    /// Whoever delivers messages.
    Messenger,
    /// Nobody: it is done once its turn has come.
    Nobody,
}

/// What a person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To do something.
    ToAct,
    /// Whether to go on.
    ToDecide,
}

/// What takes an action back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inverse {
    /// There is nothing to take back.
    Nothing,
    /// The action itself knows: see [`Action::inverse`](super::Action::inverse).
    BuiltIn,
    /// Only its author can say.
    UpToTheAuthor,
}

/// How long an action takes by its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts<'a, T> {
    /// It is nothing but time: as long as this text says.
    Exactly(&'a T),
    AtLeast(Span),
    /// As long as so many rows take.
    ByRows,
    Unsaid,
}

/// Which commands an action begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commands {
    None,
    /// Some on the way.
    OnTheWay,
    /// It is one: its keeper records how it ends.
    Itself,
}

/// What takes an action back of which its keys tell only whether it reads, and what a dry run does
/// with it.
pub(super) fn by_reading(only_reads: bool) -> (Inverse, ByItself) {
    match only_reads {
        true => (Inverse::Nothing, ByItself::CarriesOut),
        false => (Inverse::UpToTheAuthor, ByItself::LooksAndProbes),
    }
}

/// What a dry run may do with an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InDryRun {
    /// What it does if the author says nothing.
    pub by_itself: ByItself,
    /// Whether the author can say that it does the same.
    pub may_do_the_same: bool,
}

/// What a dry run does with an action of which its author says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByItself {
    /// It is carried out, as it only reads.
    CarriesOut,
    /// It looks at what would be changed.
    Looks,
    /// The same, and probes whether it has been done.
    LooksAndProbes,
}

/// Names of a result, in groups.
pub type Results = &'static [&'static [Named]];

/// A name, and what is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named(pub &'static str, pub Behind);

/// What is behind a name of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    Value,
    List,
    Anything,
}

/// The names of a command's result.
pub const OF_A_COMMAND: Results = &[run::RESULT];
/// The names of what a probe reads, an undo does or a throttle looks at.
pub const OF_A_READING: Results = &[run::RESULT, sql::RESULT, http::RESULT, shift::RESULT];

/// The names of what an analysis reads.
pub const OF_AN_ANALYSIS: Results = &[
    run::RESULT,
    sql::RESULT,
    http::RESULT,
    &[
        Named("value", Behind::Value),
        Named("baseline", Behind::Value),
        Named("series", Behind::Anything),
    ],
];

/// The names with their shapes.
pub fn shapes(results: Results) -> impl Iterator<Item = (String, Shape)> {
    results.iter().copied().flatten().map(|Named(name, behind)| {
        let shape = match behind {
            Behind::Value => Shape::Leaf,
            Behind::List => Shape::List(Box::new(Shape::Any)),
            Behind::Anything => Shape::Any,
        };
        ((*name).to_owned(), shape)
    })
}

impl DoneBy {
    pub const GATE: DoneBy = DoneBy::Person(Asked::ToDecide);
    pub const TASK: DoneBy = DoneBy::Person(Asked::ToAct);

    /// Whether a person carries it out.
    pub fn is_a_person(self) -> bool {
        matches!(self, DoneBy::Person(_))
    }

    /// Whether it is done in the moment in which its turn comes.
    pub fn takes_no_time(self) -> bool {
        match self {
            DoneBy::Messenger | DoneBy::Nobody => true,
            DoneBy::Program | DoneBy::Person(_) => false,
        }
    }
}
