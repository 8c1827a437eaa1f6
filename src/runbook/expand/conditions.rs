//! What must hold before a runbook is run: its window, what its environment requires, what a live
//! test does with each step.

use super::super::evidence::Requires;
use super::super::window::Window;
use super::draft::Places;
use super::*;
use crate::runbook::problem::{Problem, suggest};

/// The window that runs in this environment have. One that never closes is none.
pub(super) fn window(
    file: &File,
    environment: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Option<Window> {
    let raw = file.raw.window.as_ref()?;
    for name in
        raw.environments.iter().flatten().filter(|name| !file.raw.environments.contains_key(*name))
    {
        let help = suggest(name, file.raw.environments.keys().map(String::as_str));
        problems.push(Problem::new(
            file.mark.place_at(&["window", "environments"]),
            format!("there is no environment `{name}`"),
            help,
        ));
    }
    match raw.checked() {
        Ok(window) => Some(window).filter(|window| raw.is_of(environment) && !window.is_always()),
        Err((key, message)) => {
            problems.push(Problem::new(file.mark.place_at(&["window", key]), message, None));
            None
        }
    }
}

/// What the environment requires. What is wrong in another one is told too.
pub(super) fn requires(
    file: &File,
    environment: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Option<Requires> {
    let mut here = None;
    for (name, raw) in &file.raw.environments {
        let Some(raw) = &raw.requires else { continue };
        let place = |key: &str| file.mark.place_at(&["environments", name, "requires", key]);
        let checked = match raw.checked() {
            Ok(checked) => checked,
            Err(error) => {
                problems.push(Problem::new(place("dry_run"), error.to_string(), None));
                continue;
            }
        };
        for of in checked.succeeded_in.iter().filter(|of| !file.raw.environments.contains_key(*of))
        {
            let help = suggest(of, file.raw.environments.keys().map(String::as_str));
            problems.push(Problem::new(
                place("succeeded_in"),
                format!("there is no environment `{of}`"),
                help,
            ));
        }
        if checked.succeeded_in.contains(name) {
            let message = format!(
                "`{name}` requires that a run has succeeded in `{name}`, which then never can"
            );
            problems.push(Problem::new(place("succeeded_in"), message, None));
        }
        if Some(name.as_str()) == environment {
            here = Some(checked);
        }
    }
    here
}

/// Reports a window in which the plan cannot be carried out, and steps of which it is not said what
/// a live test does with them.
pub(super) fn check(
    runbook: &Runbook,
    file: &File,
    place_of: &Places,
    places: &DraftMap<Place>,
    problems: &mut Vec<Problem>,
) {
    let longest = runbook.estimate();
    if let Some(window) = runbook.window.as_ref().filter(|window| window.length() < longest) {
        let message = format!(
            "the window is open for {}, and the slowest way through the steps takes {longest} by \
             the estimates",
            window.length()
        );
        let help =
            "make the window longer, or take out of the runbook what can be done before".to_owned();
        problems.push(Problem::new(
            file.mark.key("window").unwrap_or(file.mark.place),
            message,
            Some(help),
        ));
    }
    if file.raw.sides.is_none() {
        return;
    }
    for (old, new) in place_of.with_ixs() {
        let step = runbook.step(*new);
        if step.changes() && step.live_test.is_none() {
            let message = format!(
                "{} changes something, and does not say what a live test does with it",
                step.id
            );
            let help = "say `live_test: invert` (carried out with the sides swapped), `skip` or \
                `suppress` (only said)"
                .to_owned();
            problems.push(Problem::new(places[old], message, Some(help)));
        }
    }
}
