//! What is the same for all rows of a chart: where a moment stands, the time above them, when
//! people are told something, and what crosses every row. Knows nothing of steps.

use serde::Serialize;

use super::times::Interval;
use super::words::clock;

/// How wide the chart is at least, in pixels: what would lie on each other there is kept apart.
pub const WIDTH: f64 = 560.0;

/// The time that a chart shows. A moment stands so many percent from its left, with a little room
/// at both sides.
#[derive(Debug, Clone, Copy)]
pub struct Scale(pub Interval);

impl Scale {
    pub fn at(&self, moment: u64) -> f64 {
        let (from, to) = self.0;
        let share = (moment.clamp(from, to) - from) as f64 / (to - from).max(1) as f64;
        ((2.0 + 95.0 * share) * 100.0).round() / 100.0
    }

    pub fn width(&self, (from, to): Interval) -> f64 {
        ((self.at(to) - self.at(from)) * 100.0).round() / 100.0
    }

    pub fn has(&self, (from, to): Interval) -> bool {
        from <= self.0.1 && to >= self.0.0
    }
}

#[derive(Debug, Serialize)]
pub struct Tick {
    x: f64,
    label: String,
}

/// A message or several, by their numbers.
#[derive(Debug, Serialize)]
pub struct Mark {
    x: f64,
    y: f64,
    label: String,
    title: String,
}

/// Where the messages stand: those that would lie on each other are one mark, and neighbours stand
/// below each other.
pub fn lanes(letters: &[(usize, u64, String)], scale: Scale) -> (Vec<Mark>, usize) {
    let x = |at: u64| scale.at(at) / 100.0 * WIDTH;
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
        let width = 12.0 + 6.0 * label.chars().count() as f64;
        let x = x.min(WIDTH - width);
        let lane = ends.iter().position(|end| *end + 2.0 <= x).unwrap_or(ends.len());
        if lane == ends.len() {
            ends.push(0.0);
        }
        ends[lane] = x + width;
        shown.push(Mark {
            x: (x / WIDTH * 1000.0).round() / 10.0,
            y: lane as f64 * 16.0,
            label,
            title: subjects.join("\n"),
        });
    }
    (shown, ends.len())
}

/// Round times between two moments.
pub fn ticks(scale: Scale) -> Vec<Tick> {
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
    let window = scale.0;
    let length = (window.1 - window.0).max(1);
    let step = STEPS.into_iter().find(|step| length / step <= 9).unwrap_or(length);
    let tick = |number: u64| Tick {
        x: scale.at(number * step),
        label: if number == 0 { "0".to_owned() } else { clock(number * step) },
    };
    (window.0.div_ceil(step)..=window.1 / step).map(tick).collect()
}

/// What stands behind every row, as one background: lines at points of no return, production's
/// outages, lines at round times. However short an outage is, it can be seen. Plain colours, as
/// printers blur what runs from one into another.
pub fn backdrop(points: &[u64], outages: &[Interval], ticks: &[Tick], scale: Scale) -> String {
    let patch = |x: f64, width: &str, colour: &str| {
        format!("linear-gradient(var(--{colour}),var(--{colour})) {x:.2}% 0/{width} 100%")
    };
    let points = points.iter().map(|at| patch(scale.at(*at), "2px", "bad"));
    let outages = outages.iter().map(|time| {
        // A background's place is a share of the room that it leaves.
        let (from, width) = (scale.at(time.0), scale.width(*time));
        patch(from / (100.0 - width) * 100.0, &format!("max({width}%,2px)"), "outage")
    });
    let ticks = ticks.iter().map(|tick| patch(tick.x, "1px", "line"));
    points.chain(outages).chain(ticks).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_at_one_place_share_a_mark_and_neighbours_a_lane_each() {
        let letter = |number, at| (number, at, format!("m{number}"));
        let (marks, lanes) =
            lanes(&[letter(1, 0), letter(2, 0), letter(3, 25), letter(4, 500)], Scale((0, 1000)));
        let shown: Vec<(&str, f64)> =
            marks.iter().map(|mark| (mark.label.as_str(), mark.y)).collect();
        assert_eq!(shown, [("1–2", 0.0), ("3", 16.0), ("4", 0.0)]);
        assert_eq!(lanes, 2);
    }

    #[test]
    fn the_axis_has_round_times_and_few_of_them() {
        for end in [1, 900, 61_000, 4_000_000, 90_000_000, 40 * 86_400_000] {
            let ticks = ticks(Scale((0, end)));
            assert!((1..=10).contains(&ticks.len()), "{end}: {}", ticks.len());
        }
    }

    #[test]
    fn an_outage_too_short_to_be_drawn_is_two_pixels_wide() {
        let drawn = backdrop(&[], &[(500, 500)], &[], Scale((0, 1000)));
        assert!(drawn.ends_with(" 49.50% 0/max(0%,2px) 100%"), "{drawn}");
    }
}
