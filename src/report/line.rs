//! One plain line per fact.

use crate::run::*;
use crate::runbook::{Direction, OnBreach};

/// Writes each fact as a line on standard error: for pipes, logs and people who scroll.
#[derive(Debug, Default)]
pub struct Plain;

impl Observer for Plain {
    fn event(&mut self, state: &RunState, event: &Event) {
        if let Some(line) =
            line(state, event).filter(|_| !is_end(&event.fact) && !is_look(state, &event.fact))
        {
            self.note(&format!("{} {line}", event.at.to_utc().format("%H:%M:%S")));
        }
    }

    fn note(&mut self, text: &str) {
        super::say(format_args!("{text}"));
    }
}

/// How a session ends is told by its last words, with what to do next.
pub fn is_end(fact: &Fact) -> bool {
    matches!(fact, Fact::RunStopped { .. } | Fact::RunEnded { .. })
}

/// What it would do is told when it is known.
pub fn is_look(state: &RunState, fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::StepStarted(started)
            if state.runbook.find(&started.step).is_some_and(|ix| state.is_only_looked_at(ix))
    )
}

/// A fact in words, its values as they are; `None` for one that only a program cares for.
pub fn line(state: &RunState, event: &Event) -> Option<String> {
    let took = |step: &str| {
        let step = state.step(state.runbook.find(step)?);
        Some(format!(" after {}", event.at.since(step.started?)))
    };
    let way = |direction: &Direction| match direction {
        Direction::Forward => "",
        Direction::Undo => "undo of ",
        Direction::Release => "release of ",
    };
    Some(match &event.fact {
        Fact::RunStarted(started) => {
            let environment =
                started.environment.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
            let (what, as_what) = match started.purpose {
                Purpose::Real => ("run", ""),
                Purpose::DryRun => ("dry run", ""),
                Purpose::LiveTest => ("run", ": a live test, with the sides swapped"),
                Purpose::Rehearsal => ("rehearsal", ""),
            };
            format!(
                "{what} {} of {}{environment} began, by {}{as_what}",
                started.run, started.runbook, started.operator
            )
        }
        Fact::RunResumed { operator, still_running, .. } if still_running.is_empty() => {
            format!("resumed by {operator}")
        }
        Fact::RunResumed { operator, still_running, .. } => {
            let steps: Vec<&str> = still_running.iter().map(|still| &*still.step).collect();
            format!("resumed by {operator}, while this still runs: {}", steps.join(", "))
        }
        Fact::RunStopped { because } => stop_words(because),
        Fact::RunEnded { outcome } => match outcome {
            Outcome::Finished => "finished".to_owned(),
            Outcome::RolledBack => "rolled back".to_owned(),
            Outcome::Cancelled => "cancelled".to_owned(),
        },
        Fact::RollbackBegan { because, actor, to, .. } => {
            let to = to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
            format!("rolling back{to}: {because} ({actor})")
        }
        Fact::CancelBegan { because, actor } => format!("cancelling: {because} ({actor})"),
        Fact::StepStarted(started) if is_look(state, &event.fact) => {
            format!("look     {}", started.step)
        }
        Fact::StepStarted(started) => {
            let attempt = if started.attempt > 1 {
                format!(", attempt {}", started.attempt)
            } else {
                String::new()
            };
            format!("begin    {}{}{attempt}", way(&started.direction), started.step)
        }
        Fact::StepSucceeded(done) => {
            let took = if done.direction == Direction::Forward {
                took(&done.step).unwrap_or_default()
            } else {
                String::new()
            };
            format!("done     {}{}{took}: {}", way(&done.direction), done.step, done.result)
        }
        Fact::StepFailed(failed) => {
            let retry = failed
                .retry_at
                .map(|at| format!("; next attempt in {}", at.since(event.at)))
                .unwrap_or_default();
            let word = if failed.failure.kind == FailureKind::Lost { "unseen" } else { "FAILED" };
            format!(
                "{word}   {}{}: {}{retry}",
                way(&failed.direction),
                failed.step,
                failed.failure.message
            )
        }
        Fact::StepForeseen(foreseen) => {
            format!("{}{}: {}", word_of(foreseen.verdict), foreseen.step, foreseen.words.trim_end())
        }
        Fact::StopRequested { step, direction, because, .. } => {
            let why = match because {
                StopReason::Timeout => "it took too long",
                StopReason::Interrupt => "interrupted",
                StopReason::Breach => "a breach",
            };
            format!("stopping {}{step}: {why}", way(direction))
        }
        Fact::StepSkipped { step, because } => format!("skipped  {step}: {because}"),
        Fact::UndoPassed { step } => format!("passed   {step}: nothing to undo"),
        Fact::StepProbed { step, verdict, reading, .. } => {
            let verdict = match verdict {
                Probed::Done => "done",
                Probed::NotDone => "not done",
                Probed::Unknown => "unknown",
            };
            format!("probed   {step}: {verdict} ({reading})")
        }
        Fact::StepResolved(resolved) => {
            let verdict = match resolved.verdict {
                Verdict::Done => "done",
                Verdict::NotDone => "not done",
                Verdict::Partial => "done in part",
                Verdict::Go => "go",
                Verdict::NoGo => "no-go",
            };
            format!(
                "resolved {}{} as {verdict} by {}: {}",
                way(&resolved.direction),
                resolved.step,
                resolved.actor,
                resolved.reason
            )
        }
        Fact::PointConfirmed { step, actor, reason } => {
            format!("point of no return {step} may be passed: {reason} ({actor})")
        }
        Fact::RunAmended(amended) => {
            let changes = shorten(&amended.changes.join("; "), 300);
            let missing = amended.missing.join("; ");
            let although =
                if missing.is_empty() { missing } else { format!(", although {missing}") };
            let void = match amended.voided.as_deref().unwrap_or_default() {
                [] => String::new(),
                some => format!("; void, to be asked again: {}", some.join(", ")),
            };
            format!("amended by {}{although}: {} ({changes}){void}", amended.actor, amended.reason)
        }
        Fact::AnalysisRead { step, analysis, percent, says, reading, .. } => {
            format!("reading  {step}: {analysis} is {says} at {percent} %: {reading}")
        }
        Fact::GuardRead { guard, says, reading } => {
            format!("guard    {guard} is {says}: {reading}")
        }
        Fact::GuardForeseen { guard, verdict } => format!("{}the guard {guard}", word_of(*verdict)),
        Fact::Breached(breach) => {
            let then = match breach.then {
                OnBreach::Pause => "; nothing new begins",
                OnBreach::Rollback => "; everything is taken back",
                OnBreach::Warn => "",
            };
            format!("BREACH   {breach}{then}")
        }
        Fact::Overridden { missing, actor, reason } => {
            format!("begun although {}: {} ({actor})", missing.join("; "), reason)
        }
        Fact::Rehearsed(found) => {
            let verdict = if found.finished { "finishes" } else { "does not finish" };
            format!(
                "rehearsed {verdict}; {} mishaps tried, stuck after {}, seed {}",
                found.mishaps, found.stuck, found.seed
            )
        }
        Fact::CursorSaved { .. } | Fact::StepSaw { .. } => return None,
        Fact::MessageSent(message) => format!("message  {}", message.subject),
    })
}

fn word_of(verdict: Foreseen) -> &'static str {
    match verdict {
        Foreseen::Would => "would    ",
        Foreseen::NotYet => "not yet  ",
        Foreseen::Refused => "REFUSED  ",
    }
}

/// Why the executor left, in words.
pub fn stop_words(because: &Stop) -> String {
    match because {
        Stop::Failed { steps } => format!("stopped: {} failed", steps.join(", ")),
        Stop::Waiting { steps } => format!("waiting for a person: {}", steps.join(", ")),
        Stop::InDoubt { steps } => format!("stopped: nobody knows how {} ended", steps.join(", ")),
        Stop::Stuck { steps } => format!("stuck: {} could not be undone", steps.join(", ")),
        Stop::Breached { because } => format!("paused: {}", because.join("; ")),
        Stop::Until { step } => format!("stopped after {step}, as asked"),
        Stop::Interrupted { .. } => "interrupted".to_owned(),
        Stop::Unwitnessed { .. } => {
            "stopped: the witness does not let it go on; nothing was begun".to_owned()
        }
    }
}

/// At most so many characters of a text.
pub fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
