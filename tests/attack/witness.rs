//! What the commands wrote, held against the journal and against itself. It does not know the
//! program.

use std::collections::{HashMap, HashSet};

/// A line of the witness: what, and of which attempt.
struct Line<'a> {
    word: &'a str,
    /// Step and direction.
    of: (&'a str, &'a str),
    attempt: u32,
}

/// Judges a witness against the events of its run.
///
/// # Panics
/// If attempts of one step overlapped, one began twice, or one began that the journal does not
/// know.
pub fn judge(witness: &str, log: &serde_json::Value, about: &str) {
    let lines: Vec<Line> = witness.lines().filter_map(line).collect();
    let known = started(log);
    let mut begun: HashSet<((&str, &str), u32)> = HashSet::new();
    let mut latest: HashMap<(&str, &str), u32> = HashMap::new();
    for Line { word, of, attempt } in lines {
        let (step, direction) = of;
        let last = latest.entry(of).or_insert(attempt);
        assert!(attempt >= *last, "{about}: attempts of {step} {direction} overlapped\n{witness}");
        *last = attempt;
        if word == "begin" {
            assert!(
                begun.insert((of, attempt)),
                "{about}: {step} {direction} {attempt} began twice\n{witness}"
            );
            let key = (step.to_owned(), direction.to_owned(), attempt);
            assert!(known.contains(&key), "{about}: the journal does not know {key:?}\n{witness}");
        }
        // A step and its undo do not overlap either.
        if direction == "undo" && word == "begin" {
            latest.insert((step, "forward"), u32::MAX);
        }
    }
}

/// How often each step ended in a direction.
pub fn ends<'a>(witness: &'a str, direction: &str) -> HashMap<&'a str, usize> {
    let mut ends = HashMap::new();
    let all = witness.lines().filter_map(line);
    for line in all.filter(|line| line.word == "end" && line.of.1 == direction) {
        *ends.entry(line.of.0).or_default() += 1;
    }
    ends
}

fn line(text: &str) -> Option<Line<'_>> {
    let mut words = text.split(' ');
    let (word, step, direction) = (words.next()?, words.next()?, words.next()?);
    Some(Line { word, of: (step, direction), attempt: words.next()?.parse().ok()? })
}

/// The attempts that a journal says it started.
fn started(log: &serde_json::Value) -> HashSet<(String, String, u32)> {
    let events = log["log"].as_array().expect("events").iter().map(|entry| &entry["event"]);
    let started = events.filter(|event| event["event"] == "step_started");
    let word =
        |event: &serde_json::Value, name: &str| event[name].as_str().expect("a text").to_owned();
    let number = |event: &serde_json::Value| event["attempt"].as_u64().expect("a number") as u32;
    started.map(|event| (word(event, "step"), word(event, "direction"), number(event))).collect()
}
