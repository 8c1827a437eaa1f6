//! A certificate in words: what was tried, and each run that did not end as it should.

use super::lines::Lines;
use crate::rehearsal::{Certificate, Death, Difference, Way};
use crate::runbook::Span;

/// For people.
pub fn certificate_text(found: &Certificate) -> Lines {
    let mut out = Lines::default();
    let boundaries = match found.boundaries {
        all if all == found.tried => format!("{all} boundaries"),
        all => format!("{} of {all} boundaries", found.tried),
    };
    let took = Span::from_millis(if found.took_ms >= 10_000 {
        found.took_ms / 1000 * 1000
    } else {
        found.took_ms
    });
    let environment =
        found.environment.as_deref().map(|name| format!(" in {name}")).unwrap_or_default();
    let about = format!(
        "{}{environment}: {} steps, {} events, tried in {took}",
        found.runbook, found.steps, found.events
    );
    match found.differences.len() {
        0 => {
            out.line(format_args!(
                "certified: {boundaries}, each resumed and rolled back, the \
                executor killed before and after its commands begin, and with its keeper: {} runs, \
                the same end",
                found.runs
            ));
            out.line(format_args!("  {about}"));
        }
        _ if found.boundaries == 0 => {
            out.line(format_args!(
                "not certified: the run in which nobody is killed is not as it should be"
            ));
        }
        some => {
            out.line(format_args!(
                "not certified: {some} of {} runs, at {boundaries}, did not end as they should",
                found.runs
            ));
            out.line(format_args!("  {about}"));
            if found.given_up {
                out.line(format_args!("  the rest was not tried"));
            }
        }
    }
    if !found.assumed.is_empty() {
        out.line(format_args!("taken to hold, as only a real run tells"));
        found.assumed.iter().for_each(|condition| out.line(format_args!("  {condition}")));
    }
    found.differences.iter().for_each(|difference| describe(&mut out, difference));
    out
}

fn describe(out: &mut Lines, difference: &Difference) {
    if let Some(killed) = &difference.killed {
        let step = killed.step.as_deref().map(|step| format!(" of {step}")).unwrap_or_default();
        let who = match killed.death {
            Death::BeforeLaunch => "the executor, before anything had begun of it,",
            Death::Executor => "the executor",
            Death::WithKeeper => "the executor and its keeper",
        };
        let way = if killed.way == Way::Resume { "resumed" } else { "rolled back" };
        out.space();
        out.line(format_args!(
            "{who} killed after event {} ({}{step}), then {way}",
            killed.event, killed.kind
        ));
    }
    difference.what.iter().for_each(|what| out.line(format_args!("  {what}")));
    out.line(format_args!("  kept in {}; switchover --journal {0}/journal audit", difference.kept));
}
