//! The timeline as a chart: a table with a row for each step, copies as one, and its bars in the
//! cell beside its name; above them the messages. A table prints row by row, is read aloud, and
//! keeps its names in sight. Gives numbers for it, and draws nothing.

use indexmap::IndexMap;
use serde::Serialize;

use super::axis::{self, Mark, Scale, Tick};
use super::fold::base;
use super::times::{Interval, attempts, outages, union};
use super::words::{clock, uses_stand_in};
use crate::rehearsal::Rehearsal;
use crate::report::line::shorten;
use crate::report::rehearsal::span;
use crate::runbook::action::{Asked, DoneBy};
use crate::runbook::{Action, Step, StepIx, Undo};

/// The most rows of a phase. What people are asked, what bounds the downtime and what cannot be
/// gone back past is shown however many there are, and then what takes longest.
const MOST: usize = 60;

#[derive(Debug, Serialize)]
pub struct Gantt {
    backdrop: String,
    ticks: Vec<Tick>,
    letters: Vec<Mark>,
    letters_height: usize,
    phases: Vec<Phase>,
    /// In words, as the backdrop has none.
    outages: Vec<String>,
    points: Vec<String>,
    has_holds: bool,
}

#[derive(Debug, Serialize)]
struct Bar {
    x: f64,
    width: f64,
    title: String,
}

#[derive(Debug, Serialize)]
struct Phase {
    title: String,
    about: String,
    bar: Bar,
    rows: Vec<Row>,
    /// How many are not shown.
    more: usize,
}

#[derive(Debug, Serialize)]
struct Row {
    label: String,
    about: String,
    class: &'static str,
    is_critical: bool,
    sign: &'static str,
    x: f64,
    bars: Vec<Bar>,
    /// For how long what the step changed is held.
    holds: Vec<Bar>,
    /// What is written beside the bar.
    after: String,
    place: String,
}

/// The time in which production is down, and a little around it; `None` if that is so much of the
/// whole that it can be seen there.
pub fn around_outages(found: &Rehearsal) -> Option<Interval> {
    let outages = outages(found);
    let (from, to) = (outages.first()?.0, outages.last()?.1);
    let margin = ((to - from) / 8).max(1);
    let window = (from.saturating_sub(margin), (to + margin).min(found.smooth.took_ms));
    (window.1.saturating_sub(window.0) > 0 && (window.1 - window.0) * 5 < found.smooth.took_ms)
        .then_some(window)
}

/// A part of the run or the whole, with the numbers, moments and subjects of the messages.
pub fn gantt(found: &Rehearsal, letters: &[(usize, u64, String)], window: Interval) -> Gantt {
    let state = &found.lived.state;
    let runbook = &state.runbook;
    let scale = Scale(window);
    let bar = |time: Interval, title: String| Bar {
        x: scale.at(time.0),
        width: scale.width(time),
        title,
    };
    let (attempts, releases) = attempts(found);
    let mut phases = Vec::new();
    for (number, phase) in runbook.phases.iter().enumerate() {
        let mut rows: IndexMap<String, Vec<StepIx>> = IndexMap::new();
        for ix in runbook.ixs().filter(|ix| {
            runbook.step(*ix).phase as usize == number
                && attempts.contains_key(&runbook.step(*ix).id)
        }) {
            if runbook.step(ix).act.action.done_by() != DoneBy::Nobody {
                rows.entry(base(&runbook.step(ix).id)).or_default().push(ix);
            }
        }
        let of = |ixs: &[StepIx]| {
            union(
                ixs.iter().flat_map(|ix| attempts[&runbook.step(*ix).id].iter().copied()).collect(),
            )
        };
        let all = rows.iter().map(|(name, ixs)| (name, ixs, of(ixs)));
        let all: Vec<(&String, &Vec<StepIx>, Vec<Interval>)> =
            all.filter(|(.., times)| times.iter().any(|time| scale.has(*time))).collect();
        let Some(whole) = all
            .iter()
            .flat_map(|(.., times)| times.iter().copied())
            .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
        else {
            continue;
        };
        let rank = |(_, ixs, times): &(&String, &Vec<StepIx>, Vec<Interval>)| {
            (
                ixs.iter().any(|ix| is_landmark(runbook.step(*ix))),
                times.iter().map(|(from, to)| to - from).sum(),
            )
        };
        let is_shown = chosen(&all.iter().map(rank).collect::<Vec<_>>(), MOST);
        let rows = all.iter().zip(&is_shown).filter(|(_, is_shown)| **is_shown).map(
            |((name, ixs, times), _)| {
                let held = |ix: &StepIx| {
                    let id = &runbook.step(*ix).id;
                    let (from, to) = (attempts[id].first()?.1, *releases.get(id)?);
                    Some(bar(
                        (from, to),
                        format!("{id} is held for {}", span(to.saturating_sub(from))),
                    ))
                };
                let bars = times.iter().map(|time| bar(*time, String::new())).collect();
                let holds = ixs.iter().filter_map(held).collect();
                Row {
                    bars,
                    holds,
                    ..row(found, name, runbook.step(ixs[0]), ixs.len(), times, scale)
                }
            },
        );
        let rows = rows.collect();
        let title = phase
            .title
            .as_ref()
            .map_or_else(|| phase.id.clone(), |_| super::words::phase_title(state, number));
        let about = format!(
            "{title}: {}, from {} to {}",
            span(whole.1 - whole.0),
            clock(whole.0),
            clock(whole.1)
        );
        let more = is_shown.iter().filter(|is_shown| !**is_shown).count();
        phases.push(Phase {
            title: shorten(&title, 90),
            about,
            bar: bar(whole, String::new()),
            rows,
            more,
        });
    }
    let points = runbook.ixs().map(|ix| runbook.step(ix)).filter(|step| step.point_of_no_return);
    let points = points.filter_map(|step| Some((&step.id, attempts.get(&step.id)?.first()?.0)));
    let points: Vec<_> = points.filter(|(_, at)| scale.has((*at, *at))).collect();
    let outages = outages(found);
    let ticks = axis::ticks(scale);
    let letters: Vec<_> =
        letters.iter().filter(|(_, at, _)| scale.has((*at, *at))).cloned().collect();
    let (letters, lanes) = axis::lanes(&letters, scale);
    Gantt {
        backdrop: axis::backdrop(
            &points.iter().map(|(_, at)| *at).collect::<Vec<_>>(),
            &outages,
            &ticks,
            scale,
        ),
        ticks,
        letters,
        letters_height: lanes * 16,
        phases,
        outages: outages
            .iter()
            .map(|(from, to)| {
                format!("production is down for {} from {}", span(to - from), clock(*from))
            })
            .collect(),
        points: points
            .iter()
            .map(|(id, at)| format!("{id}: a point of no return at {}", clock(*at)))
            .collect(),
        has_holds: !releases.is_empty(),
    }
}

fn row(
    found: &Rehearsal,
    name: &str,
    step: &Step,
    count: usize,
    times: &[Interval],
    scale: Scale,
) -> Row {
    let state = &found.lived.state;
    let (from, to) = (times[0].0, times[times.len() - 1].1);
    let copies = if count > 1 { format!(" ×{count}") } else { String::new() };
    // The phase stands above.
    let inside = if count > 1 { name } else { &step.id };
    let inside = inside.split_once('/').map_or(inside, |(_, inside)| inside);
    let action = &step.act.action;
    let class = match action.done_by() {
        DoneBy::Person(Asked::ToDecide) => "gate",
        DoneBy::Person(Asked::ToAct) => "task",
        DoneBy::Messenger => "notify",
        DoneBy::Program | DoneBy::Nobody => match action {
            Action::Wait(_) => "wait",
            _ if step.undo == Undo::Unknown => "oneway",
            _ => "act",
        },
    };
    let sign = match action.done_by() {
        DoneBy::Person(Asked::ToDecide) => "◆",
        _ if step.point_of_no_return => "■",
        _ => "",
    };
    let title = super::words::step_title(state, step);
    let title = if title.is_empty() { title } else { format!("{title}, ") };
    let stand_in = uses_stand_in(&state.runbook, step);
    let with =
        stand_in.map(|program| format!(", with a stand-in for {program}")).unwrap_or_default();
    let length = if times.len() > 1 {
        format!("{} from first to last", span(to - from))
    } else {
        span(to - from)
    };
    let (after, place) = beside(&length, (from, to), scale);
    Row {
        label: format!(
            "{}{copies}{}",
            tail(inside, 40 - copies.chars().count()),
            if stand_in.is_some() { " °" } else { "" }
        ),
        about: format!(
            "{inside}{copies}: {title}{length} ({} to {}{with})",
            clock(from),
            clock(to)
        ),
        class,
        is_critical: found.forecast.critical.iter().any(|id| base(id) == base(&step.id)),
        sign,
        x: scale.at(from),
        bars: Vec::new(),
        holds: Vec::new(),
        after,
        place,
    }
}

/// How long something takes, written behind its bar or, without room there, before it.
fn beside(length: &str, (from, to): Interval, scale: Scale) -> (String, String) {
    let room = (length.chars().count() as f64 * 6.0 + 20.0) / axis::WIDTH * 100.0;
    match (scale.at(from), scale.at(to)) {
        _ if from == to => (String::new(), String::new()),
        (_, right) if right + room <= 100.0 => (length.to_owned(), format!("left:{right}%")),
        (left, _) if left >= room => (length.to_owned(), format!("right:{:.2}%", 100.0 - left)),
        _ => (String::new(), String::new()),
    }
}

/// The end of a long name, which says most.
pub fn tail(name: &str, most: usize) -> String {
    match name.chars().count() {
        length if length > most => {
            format!("…{}", name.chars().skip(length + 1 - most).collect::<String>())
        }
        _ => name.to_owned(),
    }
}

/// What nobody may lose sight of.
fn is_landmark(step: &Step) -> bool {
    step.point_of_no_return || step.downtime.is_some() || step.act.action.is_for_a_person()
}

/// Which rows are shown, told from whether each is a landmark and how long it takes: all, or the
/// landmarks and what takes longest.
fn chosen(rows: &[(bool, u64)], most: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|row| (std::cmp::Reverse(rows[*row]), *row));
    let mut shown: Vec<bool> = rows.iter().map(|(is_landmark, _)| *is_landmark).collect();
    order.into_iter().take(most).for_each(|row| shown[row] = true);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landmarks_are_shown_however_short_they_are() {
        assert_eq!(
            chosen(&[(false, 5), (false, 9), (true, 0), (false, 5)], 2),
            [false, true, true, false]
        );
        assert_eq!(chosen(&[(true, 0), (true, 0), (false, 9)], 1), [true, true, false]);
    }

    #[test]
    fn a_length_stands_where_there_is_room() {
        let scale = Scale((0, 100));
        assert_eq!(beside("10s", (0, 10), scale).1, "left:11.5%");
        assert_eq!(beside("10s", (50, 100), scale).1, "right:50.50%");
        assert_eq!(beside("10s", (0, 100), scale).1, "");
        assert_eq!(beside("0ms", (5, 5), scale).1, "");
    }
}
