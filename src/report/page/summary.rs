//! What is to be known first: the verdict in a line, the figures that people ask for, and the lists of what needs them.

use serde::Serialize;

use super::fold::{base, folded};
use crate::rehearsal::{Case, Ending, Mishap, Rehearsal};
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

pub fn verdict(found: &Rehearsal) -> Verdict {
    let smooth = &found.smooth;
    let down = if smooth.down_ms > 0 { format!(", production down for {}", span(smooth.down_ms)) } else { String::new() };
    let count = |holds: &dyn Fn(&Case) -> bool| found.cases.iter().filter(|case| holds(case)).count();
    let (stuck, over) = (count(&|case| is_stuck(case)), count(&|case| case.over.iter().any(|over| over != "duration")));
    let went = match smooth.ends {
        Ending::Finished => format!("If nothing goes wrong it is done after {}{down}.", span(smooth.took_ms)),
        other => format!("Even if nothing else goes wrong it does not finish: {other} after {}{down}.", span(smooth.took_ms)),
    };
    let all = found.cases.len();
    let mishaps = match (all, stuck, over) {
        (0, ..) => "No mishap was tried.".to_owned(),
        (_, 0, 0) => format!("Of {all} mishaps none leaves it stuck or exceeds a budget."),
        (_, stuck, 0) => format!("Of {all} mishaps {stuck} leave it stuck; none exceeds a budget."),
        (_, 0, over) => format!("Of {all} mishaps none leaves it stuck; {over} exceed a budget."),
        (_, stuck, over) => format!("Of {all} mishaps {stuck} leave it stuck and {over} exceed a budget."),
    };
    let class = match smooth.ends {
        Ending::Finished if stuck == 0 && over == 0 && smooth.over.is_empty() => "good",
        Ending::Finished if smooth.over.is_empty() => "fair",
        _ => "bad",
    };
    Verdict { class, words: format!("{went} {mishaps}") }
}

pub fn figures(found: &Rehearsal) -> Vec<Figure> {
    let (smooth, forecast) = (&found.smooth, &found.forecast);
    let of = |budget: Option<Budget>| budget.map(|budget| format!("of {}", budget.limit)).unwrap_or_default();
    let class = |budget: Option<Budget>, length: u64| match budget {
        Some(budget) if length > budget.limit.as_millis() => "bad",
        Some(_) => "good",
        None => "",
    };
    let late = |length: u64| if forecast.runs > 0 { format!("95 of 100 runs: {}", span(length)) } else { String::new() };
    let longest = found.cases.iter().filter_map(|case| Some((case.back_ms?, case))).max_by_key(|(back, _)| *back);
    let longest = longest.filter(|(back, _)| *back > 0);
    let (back, after) = longest.map_or((0, String::new()), |(back, case)| (back, format!("when {}", name(case))));
    let asks = found.cases.iter().filter(|case| !case.asked.is_empty() || case.ends == Ending::Waits).count();
    let count = |ending: Ending| found.cases.iter().filter(|case| case.ends == ending).count();
    let ends = [Ending::Finished, Ending::RolledBack, Ending::Waits, Ending::Stuck].map(|ending| format!("{} {ending}", count(ending)));
    let budgets = found.budgets;
    vec![
        Figure {
            what: "duration",
            value: span(smooth.took_ms),
            of: of(budgets.duration),
            class: class(budgets.duration, smooth.took_ms),
            note: late(forecast.took_ms.1),
        },
        Figure {
            what: "downtime",
            value: if smooth.down_ms == 0 { "none".to_owned() } else { span(smooth.down_ms) },
            of: of(budgets.downtime),
            class: class(budgets.downtime, smooth.down_ms),
            note: if forecast.down_ms.1 > 0 { late(forecast.down_ms.1) } else { String::new() },
        },
        Figure {
            what: "longest way back",
            value: if back == 0 { "–".to_owned() } else { span(back) },
            of: of(budgets.rollback),
            class: class(budgets.rollback, back),
            note: after,
        },
        Figure {
            what: "mishaps",
            value: found.cases.len().to_string(),
            of: String::new(),
            class: "",
            note: format!("{}; {asks} need a person", ends.join(", ")),
        },
    ]
}

/// What matters most, first; only what there is.
pub fn lists(found: &Rehearsal) -> Vec<List> {
    let ids = |ids: &[String]| folded(ids.iter().map(String::as_str));
    let cases = |holds: &dyn Fn(&Case) -> bool, words: &dyn Fn(&Case) -> String| -> Vec<String> {
        let mut worst: indexmap::IndexMap<String, (String, usize, &Case)> = indexmap::IndexMap::new();
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
    let over = |what: &'static str| move |case: &Case| case.over.iter().any(|over| over == what);
    let stays = |case: &Case| match folded(case.stays.iter().map(String::as_str)) {
        stays if stays.is_empty() => String::new(),
        stays if stays.len() > 4 => format!(": {} and {} more stay", stays[..3].join(", "), stays.len() - 3),
        stays => format!(": stays {}", stays.join(", ")),
    };
    let list = |class, title, advice, items| List { title, advice, class, items };
    let all = vec![
        list("bad", "Cannot be undone", "A rollback stops there and asks.", ids(&found.without_undo)),
        list(
            "bad",
            "The way back exceeds its budget",
            "",
            cases(&over("rollback"), &|case| format!(": {}", span(case.back_ms.unwrap_or_default()))),
        ),
        list("bad", "Would be stuck", "Nothing goes on until a person has mended or resolved it.", cases(&is_stuck, &stays)),
        list(
            "bad",
            "Production is down for longer than its budget",
            "",
            cases(&over("downtime"), &|case| format!(": {}", span(case.down_ms))),
        ),
        list("fair", "Nothing ends these if they hang", "Give them a timeout.", ids(&found.endless)),
        list("fair", "Taken to hold, as only a real run tells", "", ids(&found.assumed)),
        list("fair", "Nobody says how long these take", "Give them an estimate; here they take no time.", ids(&found.unknown)),
        list(
            "",
            "Expected to take what they took in earlier runs",
            "The median of the last ones, as no estimate is given.",
            ids(&found.from_history),
        ),
    ];
    all.into_iter().filter(|list| !list.items.is_empty()).collect()
}

/// Whatever else happens, a failed undo is mended or resolved by a person.
fn is_stuck(case: &Case) -> bool {
    case.ends == Ending::Stuck && !matches!(case.mishap, Some(Mishap::UndoFails { .. } | Mishap::UndoTimesOut { .. }))
}
