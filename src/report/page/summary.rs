//! What is to be known first: the verdict in a line, the figures that people ask for, and the lists
//! of what needs them.

use serde::Serialize;

use super::fold::{base, folded};
use crate::rehearsal::{Case, Ending, Rehearsal};
use crate::report::rehearsal::{name, span};
use crate::runbook::watch::Budget;

#[derive(Debug, Serialize)]
pub struct Verdict {
    class: &'static str,
    words: String,
}

#[derive(Debug, Serialize)]
pub struct Figure {
    what: &'static str,
    value: String,
    of: String,
    class: &'static str,
    note: String,
}

#[derive(Debug, Serialize)]
pub struct List {
    title: &'static str,
    advice: &'static str,
    class: &'static str,
    items: Vec<String>,
}

/// What is called likely: the share of runs by chance.
const LIKELY: f64 = 0.95;

pub fn verdict(found: &Rehearsal) -> Verdict {
    let smooth = &found.smooth;
    let was_down = if smooth.down_ms > 0 {
        format!(", production down for {}", span(smooth.down_ms))
    } else {
        String::new()
    };
    let count =
        |holds: &dyn Fn(&Case) -> bool| found.cases.iter().filter(|case| holds(case)).count();
    let stuck = count(&Case::is_stuck);
    let (otherwise, down) = (
        count(&|case| case.is_stuck() && !case.is_of_the_way_out()),
        count(&|case| case.ends_down),
    );
    let over = count(&|case| {
        case.ends != Ending::Stuck && (case.exceeds("rollback") || case.exceeds("downtime"))
    });
    let went = match smooth.ends {
        Ending::Finished => {
            format!("If nothing goes wrong it is done after {}{was_down}.", span(smooth.took_ms))
        }
        other => format!(
            "Even if nothing else goes wrong it does not finish: {other} after {}{was_down}.",
            span(smooth.took_ms)
        ),
    };
    let all = found.cases.len();
    let mishaps = match (all, stuck) {
        (0, _) => "No mishap was tried.".to_owned(),
        (_, 0) => format!("Of {all} mishaps none leaves it stuck"),
        (_, stuck) if otherwise == 0 => {
            format!("Of {all} mishaps {stuck} leave it stuck, as an undo or a release itself fails")
        }
        (_, stuck) => format!(
            "Of {all} mishaps {stuck} leave it stuck, {otherwise} of them although no undo or \
             release fails"
        ),
    };
    let ends_down = if down > 0 {
        format!("; {down} leave production down until a person has acted")
    } else {
        String::new()
    };
    let exceeds = match over {
        _ if all == 0 => "",
        0 => "; no other exceeds a budget.",
        _ => &format!("; {over} others exceed a budget."),
    };
    // Of what finishes too seldom by chance, nobody should be sure.
    let is_likely = found.forecast.finished.is_none_or(|share| share >= LIKELY);
    let class = match smooth.ends {
        Ending::Finished if !smooth.over.is_empty() => "bad",
        Ending::Finished if otherwise == 0 && over == 0 && down == 0 && is_likely => "good",
        Ending::Finished => "fair",
        _ => "bad",
    };
    let by_chance = match found.forecast.finished {
        Some(share) if share < LIKELY => {
            format!(" By chance only {:.1} % of the runs finish.", share * 100.0)
        }
        _ => String::new(),
    };
    Verdict { class, words: format!("{went} {mishaps}{ends_down}{exceeds}{by_chance}") }
}

pub fn figures(found: &Rehearsal) -> Vec<Figure> {
    let (smooth, forecast) = (&found.smooth, &found.forecast);
    let of = |budget: Option<Budget>| {
        budget.map(|budget| format!("of {}", budget.limit)).unwrap_or_default()
    };
    let class = |budget: Option<Budget>, length: u64, kept: Option<f64>| match budget {
        Some(budget) if length > budget.limit.as_millis() => "bad",
        Some(_) if kept.is_some_and(|share| share < LIKELY) => "fair",
        Some(_) => "good",
        None => "",
    };
    let late = |length: u64, kept: Option<f64>| {
        let kept =
            kept.map(|share| format!("; kept by {:.1} %", share * 100.0)).unwrap_or_default();
        if forecast.runs > 0 {
            format!("95 of 100 runs: {}{kept}", span(length))
        } else {
            String::new()
        }
    };
    let longest = found.longest_way_back().filter(|(back, _)| *back > 0);
    let (back, after) =
        longest.map_or((0, String::new()), |(back, case)| (back, format!("when {}", name(case))));
    let asks = found.cases.iter().filter(|case| case.asks()).count();
    let count = |ending: Ending| found.cases.iter().filter(|case| case.ends == ending).count();
    let ends = [Ending::Finished, Ending::RolledBack, Ending::Waits, Ending::Stuck]
        .map(|ending| format!("{} {ending}", count(ending)));
    let budgets = found.budgets;
    vec![
        Figure {
            what: "duration",
            value: span(smooth.took_ms),
            of: of(budgets.duration),
            class: class(budgets.duration, smooth.took_ms, forecast.within_duration),
            note: late(forecast.took_ms.1, forecast.within_duration),
        },
        Figure {
            what: "downtime",
            value: if smooth.down_ms == 0 { "none".to_owned() } else { span(smooth.down_ms) },
            of: of(budgets.downtime),
            class: class(budgets.downtime, smooth.down_ms, forecast.within_downtime),
            note: if forecast.down_ms.1 > 0 {
                late(forecast.down_ms.1, forecast.within_downtime)
            } else {
                String::new()
            },
        },
        Figure {
            what: "longest way back",
            value: if back == 0 { "–".to_owned() } else { span(back) },
            of: of(budgets.rollback),
            class: class(budgets.rollback, back, None),
            note: after,
        },
        Figure {
            what: "mishaps",
            value: found.cases.len().to_string(),
            of: String::new(),
            class: "",
            note: format!("{}; {asks} ask a person", ends.join(", ")),
        },
    ]
}

/// What matters most, first; only what there is.
pub fn lists(found: &Rehearsal) -> Vec<List> {
    let ids = |ids: &[String]| folded(ids.iter().map(String::as_str));
    let cases = |holds: &dyn Fn(&Case) -> bool, words: &dyn Fn(&Case) -> String| -> Vec<String> {
        let mut worst: indexmap::IndexMap<String, (String, usize, &Case)> =
            indexmap::IndexMap::new();
        for case in found.cases.iter().filter(|case| holds(case)) {
            let entry = worst.entry(base(&name(case))).or_insert_with(|| (name(case), 0, case));
            entry.1 += 1;
            if (case.back_ms, case.down_ms) > (entry.2.back_ms, entry.2.down_ms) {
                entry.2 = case;
            }
        }
        let line = |(base, (name, count, case)): (String, (String, usize, &Case))| match count {
            1 => format!("{name}{}", words(case)),
            _ => format!("{base} ({count}){}", words(case)),
        };
        worst.into_iter().map(line).collect()
    };
    let stays = |case: &Case| match folded(case.stays.iter().map(String::as_str)) {
        stays if stays.is_empty() => String::new(),
        stays if stays.len() > 4 => {
            format!(": {} and {} more stay", stays[..3].join(", "), stays.len() - 3)
        }
        stays => format!(": stays {}", stays.join(", ")),
    };
    let list = |class, title, advice, items| List { title, advice, class, items };
    let all = vec![
        list(
            "bad",
            "Production stays down",
            "Until a person has mended or resolved it.",
            cases(&|case| case.ends_down, &stays),
        ),
        list(
            "bad",
            "Cannot be undone",
            "A rollback stops there and asks.",
            ids(&found.without_undo),
        ),
        list(
            "bad",
            "The way back exceeds its budget",
            "",
            cases(&|case| case.exceeds("rollback"), &|case| {
                format!(": {}", span(case.back_ms.unwrap_or_default()))
            }),
        ),
        list(
            "bad",
            "Would be stuck, although no undo or release fails",
            "Nothing goes on until a person has mended or resolved it.",
            cases(&|case| case.is_stuck() && !case.is_of_the_way_out(), &stays),
        ),
        list(
            "bad",
            "Production is down for longer than its budget",
            "",
            cases(&|case| case.exceeds("downtime") && !case.ends_down, &|case| {
                format!(": {}", span(case.down_ms))
            }),
        ),
        list(
            "fair",
            "Nothing ends these if they hang",
            "Give them a timeout.",
            ids(&found.endless),
        ),
        list("fair", "Taken to hold, as only a real run tells", "", ids(&found.assumed)),
        list(
            "fair",
            "Nobody says how long these take",
            "Give them an estimate; here they take no time.",
            ids(&found.unknown),
        ),
        list(
            "",
            "Expected to take what they took in earlier runs",
            "The median of the last ones, as no estimate is given.",
            ids(&found.from_history),
        ),
    ];
    all.into_iter().filter(|list| !list.items.is_empty()).collect()
}
