//! The executor that is killed: carries out a run of stand-ins like any other, in a process of its
//! own, and at the end of one commit kills itself as the kernel would. It judges nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{CertifyError, Unreadable};
use crate::effect::{children, die_with};
use crate::engine::{Answer, Config, Exit, Question, QuestionKind};
use crate::operate::{SessionEnd, begin_stand_in};
use crate::rehearsal::{Death, WITNESS};
use crate::run::{Event, Fact, Observer, Person, RunState};
use crate::runbook::{Outputs, Runbook};

/// The verb under which the program is that executor.
pub const VERB: &str = "certify-doomed";
/// How many actions may run at once.
pub const AT_ONCE: u16 = 4;
/// How long a stand-in that was begun may take to say so.
const PATIENCE: Duration = Duration::from_secs(5);

/// What it carries out, and where it dies.
#[derive(Debug, Clone)]
pub struct Doomed {
    /// A file with a checked runbook, whose actions it replaces.
    pub runbook: PathBuf,
    /// It dies with the first commit that has this event, or comes after it.
    pub death: Option<(u64, Death)>,
}

/// One that was not killed.
pub struct Survived {
    /// The number of the last event of each commit.
    pub commits: Vec<u64>,
    pub exit: Exit,
}

/// Carries the run out. `tell` is told the number of the last event before the executor dies.
///
/// # Errors
/// If the runbook cannot be read, or the journal in `folder` cannot be written.
pub fn doomed(
    wanted: &Doomed,
    folder: &Path,
    operator: Person,
    tell: &mut dyn FnMut(u64),
) -> Result<Survived, CertifyError> {
    let real = read(&wanted.runbook)
        .map_err(|why| CertifyError::Unreadable { path: wanted.runbook.clone(), why })?;
    let config = Config {
        operator,
        parallel: AT_ONCE.into(),
        guided: false,
        consents: true,
        ask: Some(Arc::new(agree)),
    };
    let mut end = End { death: wanted.death, commits: Vec::new(), tell };
    let SessionEnd { state: _, exit } = begin_stand_in(folder, &real, config, &mut end)?;
    Ok(Survived { commits: end.commits, exit })
}

fn read(path: &Path) -> Result<Runbook, Unreadable> {
    let runbook: Runbook = serde_json::from_slice(&std::fs::read(path)?)?;
    Ok(runbook.with_index())
}

fn agree(question: &Question) -> Answer {
    match question.kind {
        QuestionKind::Task => Answer::Done { outputs: Outputs::new() },
        QuestionKind::Step | QuestionKind::Approve | QuestionKind::Point => Answer::Go,
    }
}

/// Sees the commits, and dies at one of them.
struct End<'a> {
    death: Option<(u64, Death)>,
    commits: Vec<u64>,
    tell: &'a mut dyn FnMut(u64),
}

impl Observer for End<'_> {
    fn committed(&mut self, state: &RunState) {
        match self.death {
            Some((at, Death::BeforeLaunch)) if state.head >= at => {
                (self.tell)(state.head);
                die_with(&[]);
            }
            Some((_, Death::BeforeLaunch | Death::Executor | Death::WithKeeper)) | None => {}
        }
    }

    fn event(&mut self, state: &RunState, event: &Event) {
        if event.number != state.head {
            return;
        }
        self.commits.push(event.number);
        let Some((_, death)) = self.death.filter(|(at, _)| event.number >= *at) else { return };
        (self.tell)(event.number);
        match death {
            Death::BeforeLaunch | Death::Executor => die_with(&[]),
            Death::WithKeeper => {
                // Nobody sees the end of what has begun: that is what is to be tried.
                wait_for_beginning(state, event);
                die_with(&children());
            }
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
