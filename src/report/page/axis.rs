//! What stands above and below a chart: the time, and when people are told something. Knows nothing of steps.

use serde::Serialize;

use super::words::clock;

#[derive(Debug, Serialize)]
pub struct Tick {
    pub x: f64,
    pub label: String,
}

/// A message or several, by their numbers.
#[derive(Debug, Serialize)]
pub struct Mark {
    x: f64,
    y: f64,
    width: f64,
    label: String,
    title: String,
}

/// Where the messages stand: those that would lie on each other are one mark, and neighbours stand below each other.
pub fn lanes(letters: &[(usize, u64, String)], right: f64, x: &dyn Fn(u64) -> f64) -> (Vec<Mark>, usize) {
    let mut marks: Vec<(f64, usize, usize, Vec<&str>)> = Vec::new();
    for (number, at, subject) in letters {
        match marks.last_mut() {
            Some((first, _, last, subjects)) if x(*at) - *first < 9.0 => {
                *last = *number;
                subjects.push(subject);
            }
            _ => marks.push((x(*at), *number, *number, vec![subject])),
        }
    }
    let mut ends: Vec<f64> = Vec::new();
    let mut shown = Vec::new();
    for (x, first, last, subjects) in marks {
        let label = if first == last { first.to_string() } else { format!("{first}–{last}") };
        let width = 8.0 + 6.0 * label.chars().count() as f64;
        let x = x.min(right - width);
        let lane = ends.iter().position(|end| *end + 2.0 <= x).unwrap_or(ends.len());
        if lane == ends.len() {
            ends.push(0.0);
        }
        ends[lane] = x + width;
        shown.push(Mark { x, y: 20.0 + lane as f64 * 15.0, width, label, title: subjects.join("\n") });
    }
    (shown, ends.len())
}

/// Round times between two moments.
pub fn ticks(window: (u64, u64), x: &dyn Fn(u64) -> f64) -> Vec<Tick> {
    const SECOND: u64 = 1000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const STEPS: [u64; 20] = [
        100,
        500,
        SECOND,
        5 * SECOND,
        15 * SECOND,
        30 * SECOND,
        MINUTE,
        2 * MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        4 * HOUR,
        8 * HOUR,
        DAY,
        2 * DAY,
        7 * DAY,
        30 * DAY,
    ];
    let length = (window.1 - window.0).max(1);
    let step = STEPS.into_iter().find(|step| length / step <= 9).unwrap_or(length);
    let tick = |number: u64| Tick { x: x(number * step), label: if number == 0 { "0".to_owned() } else { clock(number * step) } };
    (window.0.div_ceil(step)..=window.1 / step).map(tick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_at_one_place_share_a_mark_and_neighbours_a_lane_each() {
        let letter = |number, at| (number, at, format!("m{number}"));
        let (marks, lanes) = lanes(&[letter(1, 0), letter(2, 0), letter(3, 12), letter(4, 500)], 1000.0, &|at| at as f64);
        let shown: Vec<(&str, f64)> = marks.iter().map(|mark| (mark.label.as_str(), mark.y)).collect();
        assert_eq!(shown, [("1–2", 20.0), ("3", 35.0), ("4", 20.0)]);
        assert_eq!(lanes, 2);
    }

    #[test]
    fn the_axis_has_round_times_and_few_of_them() {
        for end in [1, 900, 61_000, 4_000_000, 90_000_000, 40 * 86_400_000] {
            let ticks = ticks((0, end), &|at| at as f64);
            assert!((1..=10).contains(&ticks.len()), "{end}: {}", ticks.len());
        }
    }
}
