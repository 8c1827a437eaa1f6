//! The timeline as a chart: a bar for each step, copies as one, below a lane of messages; production's outages as bands across all.
//! Gives numbers for a drawing, and draws nothing.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde::Serialize;

use super::axis::{Mark, Tick, lanes, ticks};
use super::fold::base;
use super::tenths;
use super::words::{clock, uses_stand_in};
use crate::rehearsal::Rehearsal;
use crate::report::line::shorten;
use crate::report::rehearsal::span;
use crate::run::{Fact, Moment, RunState};
use crate::runbook::{Action, Direction, Step, StepId, StepIx, Undo};

const WIDTH: f64 = 1120.0;
const LEFT: f64 = 290.0;
const PLOT: f64 = WIDTH - LEFT - 30.0;
const ROW: f64 = 17.0;
/// The most rows of a phase. What people are asked, what bounds the downtime and what cannot be gone back past is shown however many
/// there are, and then what takes longest.
const MOST: usize = 60;

#[derive(Debug, Default, Serialize)]
pub struct Gantt {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    ticks: Vec<Tick>,
    outages: Vec<Bar>,
    letters: Vec<Mark>,
    phases: Vec<Phase>,
    points: Vec<Bar>,
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
    y: f64,
    baseline: f64,
    bar: Bar,
    rows: Vec<Row>,
    more: Option<Tick>,
    more_y: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    label: String,
    title: String,
    y: f64,
    baseline: f64,
    middle: f64,
    class: &'static str,
    is_critical: bool,
    is_gate: bool,
    x: f64,
    bars: Vec<Bar>,
    /// For how long what the step changed is held.
    holds: Vec<Bar>,
    /// What is written behind the bar.
    after: String,
    after_x: f64,
    /// It stands before it, and ends there.
    ends_left: bool,
}

/// From when to when, in milliseconds since the beginning.
pub type Interval = (u64, u64);

/// The time in which production is down, and a little around it; `None` if that is so much of the whole that it can be seen there.
pub fn around_outages(found: &Rehearsal) -> Option<Interval> {
    let outages = outages(found);
    let (from, to) = (outages.first()?.0, outages.last()?.1);
    let margin = ((to - from) / 8).max(1);
    let window = (from.saturating_sub(margin), (to + margin).min(found.smooth.took_ms));
    (window.1.saturating_sub(window.0) > 0 && (window.1 - window.0) * 5 < found.smooth.took_ms).then_some(window)
}

/// A part of the run or the whole, with the numbers, moments and subjects of the messages.
pub fn gantt(found: &Rehearsal, letters: &[(usize, u64, String)], window: Interval) -> Gantt {
    let state = &found.lived.state;
    let runbook = &state.runbook;
    let is_inside = |(from, to): &Interval| *from <= window.1 && *to >= window.0;
    let letters: Vec<_> = letters.iter().filter(|(_, at, _)| is_inside(&(*at, *at))).cloned().collect();
    let x = |at: u64| tenths(LEFT + PLOT * (at.clamp(window.0, window.1) - window.0) as f64 / (window.1 - window.0).max(1) as f64);
    let bar = |(from, to): Interval, title: String| Bar { x: x(from), width: (x(to) - x(from)).max(1.6), title };
    let (letters, lanes) = lanes(&letters, WIDTH, &x);
    let top = 26.0 + lanes as f64 * 15.0;
    let mut chart = Gantt { width: WIDTH, left: LEFT, right: WIDTH - 30.0, top, letters, ticks: ticks(window, &x), ..Gantt::default() };
    let (attempts, releases) = attempts(found);
    chart.has_holds = !releases.is_empty();
    let mut y = top;
    for (number, phase) in runbook.phases.iter().enumerate() {
        let mut rows: IndexMap<String, Vec<StepIx>> = IndexMap::new();
        for ix in runbook.ixs().filter(|ix| runbook.step(*ix).phase as usize == number && attempts.contains_key(&runbook.step(*ix).id)) {
            if !matches!(runbook.step(ix).act.action, Action::Join) {
                rows.entry(base(&runbook.step(ix).id)).or_default().push(ix);
            }
        }
        let of = |ixs: &[StepIx]| union(ixs.iter().flat_map(|ix| attempts[&runbook.step(*ix).id].iter().copied()).collect());
        let all = rows.iter().map(|(name, ixs)| (name, ixs, of(ixs)));
        let all: Vec<(&String, &Vec<StepIx>, Vec<Interval>)> = all.filter(|(.., times)| times.iter().any(is_inside)).collect();
        let Some(whole) =
            all.iter().flat_map(|(.., times)| times.iter().copied()).reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
        else {
            continue;
        };
        let title = phase.title.as_ref().map_or_else(|| phase.id.clone(), |_| super::words::phase_title(state, number));
        let length = span(whole.1 - whole.0);
        y += 5.0;
        let mut shown = Phase {
            title: shorten(&title, 36),
            y,
            baseline: y + 12.0,
            bar: bar(whole, format!("{title}: {length}, from {} to {}", clock(whole.0), clock(whole.1))),
            rows: Vec::new(),
            more: None,
            more_y: 0.0,
        };
        y += ROW + 2.0;
        let rank = |(_, ixs, times): &(&String, &Vec<StepIx>, Vec<Interval>)| {
            (ixs.iter().any(|ix| is_landmark(runbook.step(*ix))), times.iter().map(|(from, to)| to - from).sum())
        };
        let is_shown = chosen(&all.iter().map(rank).collect::<Vec<_>>(), MOST);
        for ((name, ixs, times), _) in all.iter().zip(&is_shown).filter(|(_, is_shown)| **is_shown) {
            let step = runbook.step(ixs[0]);
            let mut row = row(found, name, step, ixs.len(), times, y, &x);
            let held = |ix: &StepIx| {
                let id = &runbook.step(*ix).id;
                let (from, to) = (attempts[id].first()?.1, *releases.get(id)?);
                Some(bar((from, to), format!("{id} is held for {}", span(to.saturating_sub(from)))))
            };
            row.holds = ixs.iter().filter_map(held).collect();
            shown.rows.push(row);
            y += ROW;
        }
        let hidden = is_shown.iter().filter(|is_shown| !**is_shown).count();
        if hidden > 0 {
            shown.more = Some(Tick { x: LEFT, label: format!("and {hidden} steps that take less") });
            shown.more_y = y + 12.0;
            y += ROW;
        }
        chart.phases.push(shown);
    }
    let points = runbook.ixs().map(|ix| runbook.step(ix)).filter(|step| step.point_of_no_return);
    let points = points.filter_map(|step| Some((&step.id, attempts.get(&step.id)?.first()?.0))).filter(|(_, at)| is_inside(&(*at, *at)));
    chart.points = points.map(|(id, at)| bar((at, at), format!("{id}: a point of no return"))).collect();
    chart.outages = outages(found).into_iter().map(|time| bar(time, format!("production is down for {}", span(time.1 - time.0)))).collect();
    chart.bottom = y + 4.0;
    chart.height = y + 22.0;
    chart
}

fn row(found: &Rehearsal, name: &str, step: &Step, count: usize, times: &[Interval], y: f64, x: &dyn Fn(u64) -> f64) -> Row {
    let (from, to) = (times[0].0, times[times.len() - 1].1);
    let copies = if count > 1 { format!(" ×{count}") } else { String::new() };
    // The phase stands above.
    let inside = if count > 1 { name } else { &step.id };
    let inside = inside.split_once('/').map_or(inside, |(_, inside)| inside);
    let action = &step.act.action;
    let is_gate = matches!(action, Action::Approve(_));
    let class = match action {
        Action::Approve(_) => "gate",
        Action::Task(_) => "task",
        Action::Notify(_) => "notify",
        Action::Wait(_) => "wait",
        _ if step.undo == Undo::Unknown => "oneway",
        _ => "act",
    };
    let title = super::words::step_title(&found.lived.state, step);
    let stand_in =
        uses_stand_in(&found.lived.state.runbook, step).map(|program| format!(", with a stand-in for {program}")).unwrap_or_default();
    let about = format!(
        "{inside}{copies}: {title}{}{} ({} to {}{stand_in})",
        if title.is_empty() { "" } else { ", " },
        span(to - from),
        clock(from),
        clock(to)
    );
    let bars = times.iter().map(|(from, to)| Bar { x: x(*from), width: (x(*to) - x(*from)).max(1.6), title: String::new() }).collect();
    let length = if times.len() > 1 { format!("{} from first to last", span(to - from)) } else { span(to - from) };
    let space = 6.0 * length.chars().count() as f64 + 14.0;
    let ends_left = x(to) + space > WIDTH;
    let has_room = !ends_left || x(from) - space > LEFT;
    let after = if to > from && has_room { length } else { String::new() };
    let after_x = if ends_left { x(from) - 4.0 } else { x(to) + 4.0 };
    Row {
        label: format!("{}{copies}{}", tail(inside, 40 - copies.chars().count()), if stand_in.is_empty() { "" } else { " °" }),
        title: about,
        y: y + 4.0,
        baseline: y + 12.5,
        middle: y + 8.5,
        class,
        is_critical: found.forecast.critical.iter().any(|id| base(id) == base(&step.id)),
        is_gate,
        x: x(from),
        bars,
        holds: Vec::new(),
        after,
        after_x,
        ends_left,
    }
}

/// The end of a long name, which says most.
pub fn tail(name: &str, most: usize) -> String {
    match name.chars().count() {
        length if length > most => format!("…{}", name.chars().skip(length + 1 - most).collect::<String>()),
        _ => name.to_owned(),
    }
}

/// What nobody may lose sight of.
fn is_landmark(step: &Step) -> bool {
    step.point_of_no_return || step.downtime.is_some() || matches!(step.act.action, Action::Approve(_) | Action::Task(_))
}

/// Which rows are shown, told from whether each is a landmark and how long it takes: all, or the landmarks and what takes longest.
fn chosen(rows: &[(bool, u64)], most: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|row| (std::cmp::Reverse(rows[*row]), *row));
    let mut shown: Vec<bool> = rows.iter().map(|(is_landmark, _)| *is_landmark).collect();
    order.into_iter().take(most).for_each(|row| shown[row] = true);
    shown
}

/// When the attempts of each step ran, forward or back, and when what it held was released.
fn attempts(found: &Rehearsal) -> (HashMap<StepId, Vec<Interval>>, HashMap<StepId, u64>) {
    let began = found.lived.state.began;
    let at = |moment: Moment| moment.since(began).as_millis();
    let mut all: HashMap<StepId, Vec<Interval>> = HashMap::new();
    let mut releases = HashMap::new();
    let mut open: HashMap<(StepId, Direction), u64> = HashMap::new();
    for event in &found.lived.events {
        let (step, direction) = match &event.fact {
            Fact::StepStarted(started) => {
                open.insert((started.step.clone(), started.direction), at(event.at));
                continue;
            }
            Fact::StepSucceeded(done) => (done.step.clone(), done.direction),
            Fact::StepFailed(failed) => (failed.step.clone(), failed.direction),
            Fact::StepResolved(resolved) => (resolved.step.clone(), resolved.direction),
            _ => continue,
        };
        match open.remove(&(step.clone(), direction)) {
            Some(_) if direction == Direction::Release => drop(releases.insert(step, at(event.at))),
            Some(from) => all.entry(step).or_default().push((from, at(event.at))),
            None => {}
        }
    }
    (all, releases)
}

/// When production was down.
fn outages(found: &Rehearsal) -> Vec<Interval> {
    let events = &found.lived.events;
    let Some(Ok(mut state)) = events.first().map(|first| RunState::new(found.lived.state.runbook.clone(), first)) else {
        return Vec::new();
    };
    let (began, mut all, mut since) = (state.began, Vec::new(), None);
    for event in &events[1..] {
        if state.apply(event).is_err() {
            break;
        }
        let at = event.at.since(began).as_millis();
        match (since, state.down_since) {
            (None, Some(_)) => since = Some(at),
            (Some(from), None) => {
                all.push((from, at));
                since = None;
            }
            _ => {}
        }
    }
    all.extend(since.map(|from| (from, found.smooth.took_ms)));
    all
}

/// Intervals that touch or overlap as one.
fn union(mut times: Vec<Interval>) -> Vec<Interval> {
    times.sort_unstable();
    let mut all: Vec<Interval> = Vec::new();
    for (from, to) in times {
        match all.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => all.push((from, to)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_is_one_bar() {
        assert_eq!(union(vec![(5, 7), (0, 2), (1, 3), (3, 4)]), [(0, 4), (5, 7)]);
    }

    #[test]
    fn landmarks_are_shown_however_short_they_are() {
        assert_eq!(chosen(&[(false, 5), (false, 9), (true, 0), (false, 5)], 2), [false, true, true, false]);
        assert_eq!(chosen(&[(true, 0), (true, 0), (false, 9)], 1), [true, true, false]);
    }
}
