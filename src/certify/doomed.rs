//! The executor that is killed: carries out a run of stand-ins like any other, in a process of its
//! own, and at the end of one commit kills itself as the kernel would.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::run::operator;
use crate::cli::{CliError, print_data};
use crate::effect::{children, die_with};
use crate::engine::{self, Answer, Config, NewRun, Question, QuestionKind};
use crate::journal::Journal;
use crate::rehearsal::{StandIn, WITNESS, stand_in};
use crate::run::{Event, Fact, Observer, Purpose, RunState};
use crate::runbook::{Outputs, Runbook};

/// The verb under which the program is that executor.
pub const VERB: &str = "certify-doomed";
/// How many actions may run at once.
pub const AT_ONCE: u16 = 4;
/// How long a stand-in that was begun may take to say so.
const PATIENCE: Duration = Duration::from_secs(5);

/// What it carries out, and where it dies.
#[derive(Debug, Args)]
pub struct Doomed {
    /// A file with a checked runbook, whose actions it replaces.
    runbook: PathBuf,
    /// It dies with the first commit that has this event, or comes after it.
    #[arg(long)]
    at: Option<u64>,
    /// It dies before anything begins that the commit begins.
    #[arg(long)]
    before_launch: bool,
    /// It takes its keeper along.
    #[arg(long)]
    with_keeper: bool,
}

/// Carries the run out. Each line that it prints is the number of the last event of a commit; of
/// one that dies, only the last.
pub fn doomed(verb: Doomed, folder: &Path) -> Result<i32, CliError> {
    let unreadable = |error: String| {
        CliError::refused(format!("{} cannot be read: {error}", verb.runbook.display()), None)
    };
    let text = std::fs::read(&verb.runbook).map_err(|error| unreadable(error.to_string()))?;
    let real: Runbook =
        serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    // Made here, so that whatever it is given, nothing else is carried out.
    let StandIn { runbook, .. } = stand_in(&real.with_index()).map_err(unreadable)?;
    let config = Config {
        operator: operator(),
        parallel: AT_ONCE.into(),
        guided: false,
        consents: true,
        ask: Some(Arc::new(agree)),
    };
    let new = NewRun {
        runbook: Arc::unwrap_or_clone(runbook),
        name: None,
        until: None,
        purpose: Purpose::Real,
        overridden: None,
    };
    let mut end = End {
        at: verb.at,
        before_launch: verb.before_launch,
        with_keeper: verb.with_keeper,
        commits: Vec::new(),
    };
    let (_, exit) = engine::start(Journal::open(folder)?, new, config, &mut end)?;
    print_data(&end.commits.iter().map(|number| format!("{number}\n")).collect::<String>())?;
    Ok(exit.code())
}

fn agree(question: &Question) -> Answer {
    match question.kind {
        QuestionKind::Task => Answer::Done { outputs: Outputs::new() },
        QuestionKind::Step | QuestionKind::Approve | QuestionKind::Point => Answer::Go,
    }
}

/// Sees the commits, and dies at one of them.
struct End {
    at: Option<u64>,
    before_launch: bool,
    with_keeper: bool,
    commits: Vec<u64>,
}

impl Observer for End {
    fn committed(&mut self, state: &RunState) {
        if self.before_launch && self.at.is_some_and(|at| state.head >= at) {
            let _ = print_data(&format!("{}\n", state.head));
            die_with(&[]);
        }
    }

    fn event(&mut self, state: &RunState, event: &Event) {
        if event.number != state.head {
            return;
        }
        self.commits.push(event.number);
        if self.at.is_some_and(|at| event.number >= at) {
            let _ = print_data(&format!("{}\n", event.number));
            if self.with_keeper {
                // Nobody sees the end of what has begun: that is what is to be tried.
                wait_for_beginning(state, event);
                die_with(&children());
            }
            die_with(&[]);
        }
    }
}

fn wait_for_beginning(state: &RunState, event: &Event) {
    let Fact::StepStarted(started) = &event.fact else { return };
    let Some(ix) = state.runbook.find(&started.step) else { return };
    if !crate::rehearsal::is_witnessed(state.runbook.step(ix), started.direction) {
        return;
    }
    let line = format!("begin {} {} {} ", ix.0, started.direction.word(), started.attempt);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE
        && !std::fs::read_to_string(WITNESS).is_ok_and(|text| text.contains(&line))
    {
        std::thread::sleep(Duration::from_millis(1));
    }
}
