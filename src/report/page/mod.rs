//! A rehearsal as one page: HTML that needs nothing else, for a screen, a telephone and a wall. The
//! template escapes every value; here stands what it shows.

mod axis;
mod failures;
mod fold;
mod gantt;
mod graph;
mod layout;
mod people;
mod summary;
mod times;
mod words;

use std::collections::BTreeSet;

use handlebars::{Handlebars, handlebars_helper};
use serde::Serialize;

use super::rehearsal::span;
use crate::message::printable;
use crate::rehearsal::{Forecast, Rehearsal};
use crate::run::Moment;
use crate::runbook::watch::Budget;

use failures::{Failures, failures};
use fold::folded;
use gantt::{Gantt, gantt};
use graph::{Drawing, drawing};
use people::{People, people};
use summary::{Figure, List, Verdict, figures, lists, verdict};
use words::clock;

/// What the page says of itself.
#[derive(Debug, Clone)]
pub struct Imprint {
    /// SHA-256 of what was rehearsed, as it is journaled when a run of it begins.
    pub digest: String,
    pub made: Moment,
    pub version: &'static str,
}

#[derive(Debug, Serialize)]
struct Page {
    title: String,
    runbook: String,
    file: String,
    owner: String,
    description: String,
    environment: Option<String>,
    seed: u64,
    digest: String,
    made: String,
    version: &'static str,
    stand_ins: Option<StandIns>,
    /// What most runs keep, which the smooth one says nothing of.
    likely: String,
    verdict: Verdict,
    figures: Vec<Figure>,
    lists: Vec<List>,
    gantt: Gantt,
    /// The same around the outages, if they are too short to be seen in the whole.
    outage: Option<Gantt>,
    phases: Vec<Drawing>,
    forecast: Option<Expected>,
    critical: Vec<String>,
    people: People,
    failures: Failures,
    budget_back: Option<String>,
    budget_down: Option<String>,
    letters: Vec<Letter>,
}

#[derive(Debug, Serialize)]
struct StandIns {
    folder: String,
    /// Those that are used.
    programs: String,
    steps: usize,
}

#[derive(Debug, Serialize)]
struct Expected {
    runs: usize,
    finished: Option<String>,
    percentiles: Vec<Percentile>,
    duration: Option<String>,
    downtime: Option<String>,
    window: Option<String>,
    has_downtime: bool,
}

#[derive(Debug, Serialize)]
struct Percentile {
    percent: usize,
    took: String,
    down: String,
}

#[derive(Debug, Serialize)]
struct Letter {
    number: usize,
    at: String,
    occasion: String,
    to: String,
    subject: String,
    body: String,
}

/// The page.
///
/// # Errors
/// If the template does not fit what it is given, which is a fault of this program.
pub fn rehearsal_page(found: &Rehearsal, imprint: &Imprint) -> Result<String, String> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    registry.register_escape_fn(|text| handlebars::html_escape(&printable(text)));
    handlebars_helper!(add: |one: f64, other: f64| tenths(one + other));
    handlebars_helper!(sub: |one: f64, other: f64| tenths(one - other));
    handlebars_helper!(half: |one: f64| tenths(one / 2.0));
    registry.register_helper("add", Box::new(add));
    registry.register_helper("sub", Box::new(sub));
    registry.register_helper("half", Box::new(half));
    let parts = [
        ("page", include_str!("page.html")),
        ("gantt", include_str!("gantt.html")),
        ("graph", include_str!("graph.html")),
        ("people", include_str!("people.html")),
        ("failures", include_str!("failures.html")),
        ("style", include_str!("style.css")),
    ];
    for (name, text) in parts {
        registry.register_template_string(name, text).map_err(|error| error.to_string())?;
    }
    registry.render("page", &page(found, imprint)).map_err(|error| error.to_string())
}

fn page(found: &Rehearsal, imprint: &Imprint) -> Page {
    let state = &found.lived.state;
    let runbook = &state.runbook;
    let letters = letters(found);
    let marks: Vec<(usize, u64, String)> =
        letters.iter().map(|(at, letter)| (letter.number, *at, letter.subject.clone())).collect();
    let whole = (0, found.smooth.took_ms.max(1));
    let of = |budget: Option<Budget>| budget.map(|budget| budget.limit.to_string());
    let stand_ins = runbook.stand_ins.as_ref().map(|stand_ins| {
        let used: Vec<&str> =
            runbook.steps.iter().filter_map(|step| words::uses_stand_in(runbook, step)).collect();
        let programs: Vec<&str> =
            used.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        StandIns {
            folder: stand_ins.folder.display().to_string(),
            programs: programs.join(", "),
            steps: used.len(),
        }
    });
    Page {
        title: words::title(state),
        runbook: found.runbook.clone(),
        file: runbook.file.clone(),
        owner: runbook.owner.clone().unwrap_or_default(),
        description: runbook.description.clone().unwrap_or_default(),
        environment: found.environment.clone(),
        seed: found.seed,
        digest: imprint.digest.clone(),
        made: imprint.made.to_utc().format("%Y-%m-%d %H:%M UTC").to_string(),
        version: imprint.version,
        stand_ins,
        likely: likely(&found.forecast),
        verdict: verdict(found),
        figures: figures(found),
        lists: lists(found),
        gantt: gantt(found, &marks, whole),
        outage: gantt::around_outages(found).map(|window| gantt(found, &marks, window)),
        phases: (0..runbook.phases.len())
            .map(|phase| drawing(runbook, phase, words::phase_title(state, phase)))
            .collect(),
        forecast: (found.forecast.runs > 0).then(|| expected(&found.forecast, found)),
        critical: folded(found.forecast.critical.iter().map(String::as_str)),
        people: people(found),
        failures: failures(found),
        budget_back: of(found.budgets.rollback),
        budget_down: of(found.budgets.downtime),
        letters: letters.into_iter().map(|(_, letter)| letter).collect(),
    }
}

fn likely(forecast: &Forecast) -> String {
    let down = if forecast.down_ms.1 > 0 {
        format!(", with production down for at most {}", span(forecast.down_ms.1))
    } else {
        String::new()
    };
    let of = match forecast.finished {
        None | Some(0.0) => return String::new(),
        Some(1.0) => "95 of 100 runs are",
        Some(_) => "Of the runs that finish, 95 of 100 are",
    };
    format!("{of} done within {}{down}.", span(forecast.took_ms.1))
}

fn expected(forecast: &Forecast, found: &Rehearsal) -> Expected {
    let share = |share: Option<f64>| share.map(|share| format!("{:.1} %", share * 100.0));
    let row = |(percent, took, down): &(usize, u64, u64)| Percentile {
        percent: *percent,
        took: span(*took),
        down: span(*down),
    };
    Expected {
        runs: forecast.runs,
        finished: share(forecast.finished),
        percentiles: forecast.percentiles.iter().map(row).collect(),
        duration: share(forecast.within_duration)
            .zip(found.budgets.duration)
            .map(|(share, budget)| format!("{share} keep {}", budget.limit)),
        downtime: share(forecast.within_downtime)
            .zip(found.budgets.downtime)
            .map(|(share, budget)| format!("{share} keep {}", budget.limit)),
        window: share(forecast.within_window),
        has_downtime: forecast.down_ms.1 > 0,
    }
}

/// No drawing needs more.
fn tenths(length: f64) -> f64 {
    (length * 10.0).round() / 10.0
}

/// The messages of the smooth run, numbered, each with its moment.
fn letters(found: &Rehearsal) -> Vec<(u64, Letter)> {
    let sent = found.timeline.iter().filter_map(|mark| Some((mark, mark.message.as_ref()?)));
    let letter = |(number, (mark, message)): (
        usize,
        (&crate::rehearsal::Mark, &crate::rehearsal::Letter),
    )| {
        let about = mark.step.as_deref().map(|step| format!(" {step}")).unwrap_or_default();
        let letter = Letter {
            number: number + 1,
            at: clock(mark.at_ms),
            occasion: format!("{}{about}", message.occasion),
            to: message.to.join(", "),
            subject: message.subject.clone(),
            body: message.body.trim().to_owned(),
        };
        (mark.at_ms, letter)
    };
    sent.enumerate().map(letter).collect()
}
