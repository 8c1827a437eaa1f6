//! A rehearsal in words: first what cannot be undone, takes too long to undo, or leaves the run
//! stuck; then the forecast; then every mishap and where it ends.

use std::collections::{BTreeMap, HashMap};

use super::line::shorten;
use super::lines::Lines;
use crate::rehearsal::{Case, Ending, Rehearsal, Told};
use crate::runbook::Span;
use crate::runbook::watch::Budget;

/// For people: the mishaps that need them, or all.
pub fn rehearsal_text(found: &Rehearsal, all: bool) -> Lines {
    let mut out = Lines::default();
    let environment =
        found.environment.as_deref().map(|name| format!(" in {name}")).unwrap_or_default();
    out.line(format_args!(
        "{}{environment}: rehearsed once smoothly and with {} mishaps, {} at once, seed {}",
        found.runbook,
        found.cases.len(),
        found.parallel,
        found.seed
    ));
    findings(&mut out, found);
    forecast(&mut out, found);
    let is_plain = |case: &&Case| {
        matches!(case.ends, Ending::Finished) && !case.asks() && case.over.is_empty() && case.came
    };
    let shown: Vec<&Case> = found.cases.iter().filter(|case| all || !is_plain(case)).collect();
    if !shown.is_empty() {
        out.space();
        out.line(format_args!(
            "mishaps{}",
            if all {
                ""
            } else {
                " after which it does not go on by itself (--all shows the others too)"
            }
        ));
    }
    for case in shown {
        let of = |budget: Option<Budget>| {
            budget.map(|budget| format!(" of {}", budget.limit)).unwrap_or_default()
        };
        let back = case
            .back_ms
            .map(|back| format!("  back in {}{}", span(back), of(found.budgets.rollback)))
            .unwrap_or_default();
        let down = if case.down_ms > 0 {
            format!("  down {}{}", span(case.down_ms), of(found.budgets.downtime))
        } else {
            String::new()
        };
        let down = if case.ends_down { format!("{down} and stays down") } else { down };
        let stays = match case.stays.len() {
            0 => String::new(),
            1..=3 => format!("  stays: {}", case.stays.join(", ")),
            count => format!("  {count} steps stay"),
        };
        let asked = match (case.came, case.asks()) {
            (false, _) => "  did not come to pass",
            (true, true) => "  asks",
            (true, false) => "",
        };
        let tells = told_beyond(case, &found.smooth);
        let tells =
            if tells.is_empty() { String::new() } else { format!("  tells: {}", tells.join(", ")) };
        out.line(format_args!(
            "  {:<44} {:<12}{back}{down}{stays}{asked}{tells}",
            name(case),
            case.ends.to_string()
        ));
    }
    out
}

fn findings(out: &mut Lines, found: &Rehearsal) {
    let mut list = |title: &str, items: Vec<String>| {
        if !items.is_empty() {
            out.space();
            out.line(format_args!("{title}"));
            items.iter().for_each(|item| out.line(format_args!("  {item}")));
        }
    };
    let cases = |holds: &dyn Fn(&Case) -> bool, words: &dyn Fn(&Case) -> String| -> Vec<String> {
        found
            .cases
            .iter()
            .filter(|case| holds(case))
            .map(|case| format!("{}: {}", name(case), words(case)))
            .collect()
    };
    let stays = |case: &Case| {
        if case.stays.is_empty() {
            "nothing stays changed".to_owned()
        } else {
            format!("stays {}", shorten(&case.stays.join(", "), 100))
        }
    };
    list("production stays down until a person has acted", cases(&|case| case.ends_down, &stays));
    list("cannot be undone: a rollback stops there and asks", found.without_undo.clone());
    list(
        "the way back exceeds its budget",
        cases(&|case| case.exceeds("rollback"), &|case| span(case.back_ms.unwrap_or_default())),
    );
    list(
        "stuck, although no undo or release fails",
        cases(&|case| case.is_stuck() && !case.is_of_the_way_out(), &stays),
    );
    let is_long = |case: &Case| case.exceeds("downtime") && !case.ends_down;
    list(
        "production is down for longer than its budget",
        cases(&is_long, &|case| span(case.down_ms)),
    );
    list("nothing ends these if they hang: give them a timeout", few(&found.endless));
    list("nobody says how long these take: give them an estimate", few(&found.unknown));
    list("no estimate, so they take what they took in earlier runs", few(&found.from_history));
    list("taken to hold, as only a real run tells", found.assumed.clone());
}

fn forecast(out: &mut Lines, found: &Rehearsal) {
    let smooth = &found.smooth;
    out.space();
    out.line(format_args!(
        "smooth: {} after {}, downtime {}",
        smooth.ends,
        span(smooth.took_ms),
        span(smooth.down_ms)
    ));
    let forecast = &found.forecast;
    if forecast.runs > 0 {
        let (took, down) = (forecast.took_ms, forecast.down_ms);
        out.line(format_args!(
            "by chance: of {} runs {:.1} % finish; of these half after {}, 95 of 100 after {}; \
             downtime {} and {}",
            forecast.runs,
            forecast.finished.unwrap_or_default() * 100.0,
            span(took.0),
            span(took.1),
            span(down.0),
            span(down.1)
        ));
    }
    let shares = [
        (forecast.within_duration, "finish within the budget for the duration"),
        (
            forecast.within_downtime,
            "keep the budget for the downtime, whether they finish or go back",
        ),
        (forecast.within_window, "are done before the window closes, if they begin as it opens"),
    ];
    for (share, what) in shares {
        if let Some(share) = share {
            out.line(format_args!("  {:.1} % of all {what}", share * 100.0));
        }
    }
    out.line(format_args!(
        "critical path: {}",
        if forecast.critical.is_empty() { "-".to_owned() } else { forecast.critical.join(", ") }
    ));
    for gate in &forecast.gates {
        let latest = match gate.latest_ms {
            None => String::new(),
            Some(latest) if latest < 0 => {
                "; too late from the first for the time that there is".to_owned()
            }
            Some(latest) => {
                format!("; a go is safe until {} after the beginning", span(latest.unsigned_abs()))
            }
        };
        out.line(format_args!("gate {}: asked after {}{latest}", gate.step, span(gate.asked_ms)));
    }
    let mut ends: BTreeMap<Ending, usize> = BTreeMap::new();
    found.cases.iter().for_each(|case| *ends.entry(case.ends).or_default() += 1);
    let ends: Vec<String> =
        ends.into_iter().map(|(ending, count)| format!("{count} {ending}")).collect();
    let asks = found.cases.iter().filter(|case| case.asks()).count();
    out.line(format_args!(
        "of {} mishaps: {}; {asks} ask a person",
        found.cases.len(),
        ends.join(", ")
    ));
}

/// What people are told that they are not if nothing goes wrong, and who, where they are named;
/// each once.
pub fn told_beyond(case: &Case, smooth: &Case) -> Vec<String> {
    fn key(told: &Told) -> (&str, Option<&str>) {
        (&told.occasion, told.about.as_deref())
    }
    let mut known: HashMap<_, usize> = HashMap::new();
    smooth.told.iter().for_each(|told| *known.entry(key(told)).or_default() += 1);
    let mut beyond: Vec<String> = Vec::new();
    for told in &case.told {
        let left = known.entry(key(told)).or_default();
        // The report of a run that went back is another one.
        let is_new = *left == 0 || told.occasion == "report" && case.ends == Ending::RolledBack;
        *left = left.saturating_sub(1);
        let about = told
            .about
            .as_deref()
            .filter(|_| told.occasion == "notify")
            .map(|about| format!(" {about}"))
            .unwrap_or_default();
        let to =
            if told.to.is_empty() { String::new() } else { format!(" to {}", told.to.join(", ")) };
        let words = format!("{}{about}{to}", told.occasion);
        if is_new && !beyond.contains(&words) {
            beyond.push(words);
        }
    }
    beyond
}

fn few(items: &[String]) -> Vec<String> {
    const MOST: usize = 10;
    let mut few: Vec<String> = items.iter().take(MOST).cloned().collect();
    if items.len() > MOST {
        few.push(format!("and {} more", items.len() - MOST));
    }
    few
}

pub fn name(case: &Case) -> String {
    case.mishap.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// A length of time in words.
pub fn span(millis: u64) -> String {
    Span::from_millis(if millis >= 10_000 { millis / 1000 * 1000 } else { millis }).to_string()
}
