//! How long a step takes by its author's word: its estimate or, where the runbook itself says how
//! long, that. And whether it may.

use serde_json::Value as Json;

use super::super::action::Lasts;
use super::super::convert::span;
use super::super::problem::Problem;
use super::super::source::Mark;
use super::super::{Act, Direction, Span, Step};

/// What is to be expected of an action. A plain wait takes as long as it says, whatever is
/// estimated; a shift of traffic at least as long as its bakes.
pub(super) fn of(act: &Act, estimate: Option<&str>, known: &Json) -> Option<Span> {
    let estimate = span(estimate);
    match act.action.facts().lasts {
        Lasts::Exactly(time) => {
            time.render(known).ok().and_then(|time| time.parse().ok()).or(estimate)
        }
        Lasts::AtLeast(time) => estimate.or((time > Span::ZERO).then_some(time)),
        Lasts::ByRows | Lasts::Unsaid => estimate,
    }
}

/// Estimates that the step's own timeouts do not allow.
pub(super) fn contradictions<Ix>(step: &Step<Ix>, mark: &Mark) -> Vec<Problem> {
    let ways = [
        (Direction::Forward, step.estimate, &["estimate"][..]),
        (Direction::Undo, step.undo_estimate, &["undo", "estimate"]),
        (
            Direction::Release,
            step.hold.as_ref().and_then(|hold| hold.estimate),
            &["hold", "release", "estimate"],
        ),
    ];
    let contradiction = |(direction, estimate, way): (Direction, Option<Span>, &[&str])| {
        let most = step.act(direction)?.most()?;
        let estimate = estimate.filter(|estimate| *estimate > most)?;
        let what = if direction == Direction::Forward { "step" } else { direction.word() };
        let message = format!(
            "the {what} is expected to take {estimate}, and its timeout ends it after {most}"
        );
        let help = Some("give it a longer timeout, or a smaller estimate".to_owned());
        Some(Problem::new(mark.place_at(way), message, help))
    };
    ways.into_iter().filter_map(contradiction).collect()
}
