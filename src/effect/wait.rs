//! Waiting: for a length of time, or until a condition on a repeated reading holds several times in
//! a row.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{EffectError, Job, Keeper, Reading, Stopper, Teller, perform as read};
use crate::runbook::Span;
use crate::runbook::action::Wait;

pub fn perform(
    job: &Job,
    wait: &Wait<String>,
    keeper: &Keeper,
    stopper: &Arc<Stopper>,
    teller: &Teller,
) -> Result<Reading, EffectError> {
    match wait {
        Wait::For(text) => {
            let span: Span =
                text.parse().map_err(|error| EffectError::before(format!("{error}")))?;
            if job.only_looks {
                return Ok(Reading {
                    is_good: true,
                    summary: format!("wait for {span}"),
                    ..Reading::default()
                });
            }
            match stopper.sleep(span.as_duration()) {
                true => Err(EffectError::before("it was stopped")),
                false => Ok(Reading {
                    is_good: true,
                    summary: format!("{span} passed"),
                    ..Reading::default()
                }),
            }
        }
        Wait::Until { until, probe, .. } if job.only_looks => {
            let reading = read(
                &Job { action: (**probe).clone(), attempt: None, only_looks: false, ..job.clone() },
                keeper,
                stopper,
                teller,
            )?;
            let holds = match reading.view(&job.names).holds(until) {
                Ok(true) => "it holds now",
                Ok(false) => "it does not hold yet",
                Err(error) => return Err(EffectError::during(error.0)),
            };
            let summary =
                format!("wait until {} ({holds}: {})", until.source(), in_words(&reading));
            Ok(Reading { is_good: true, summary, ..Reading::default() })
        }
        Wait::Until { until, probe, every, stable } => {
            let probing = Job { action: (**probe).clone(), attempt: None, ..job.clone() };
            let (mut held, mut readings, mut last) = (0, 0u64, String::new());
            loop {
                // A reading that fails says nothing: it is not "no", and it breaks the row.
                let (words, problem) = match read(&probing, keeper, stopper, teller) {
                    Ok(reading) => {
                        let words = in_words(&reading);
                        match reading.view(&job.names).holds(until) {
                            Ok(true) if held + 1 >= *stable => {
                                let summary = format!("held after {} readings", readings + 1);
                                return Ok(Reading { is_good: true, summary, ..reading });
                            }
                            Ok(true) => {
                                held += 1;
                                (Some(words), None)
                            }
                            Ok(false) => {
                                held = 0;
                                teller.progress(words.clone());
                                (Some(words), None)
                            }
                            Err(error) => (Some(words), Some(error.0)),
                        }
                    }
                    Err(error) => (None, Some(error.message)),
                };
                if problem.is_some() {
                    held = 0;
                }
                // What was stopped half-way has said nothing, unless there is nothing else to tell.
                if !stopper.is_stopped() || readings == 0 {
                    readings += 1;
                    last = match (problem, words) {
                        (None, words) => format!("said: {}", words.unwrap_or_default()),
                        (Some(problem), None) => format!("failed: {problem}"),
                        (Some(problem), Some(words)) => format!(
                            "said: {words}, of which the condition cannot be decided: {problem}"
                        ),
                    };
                }
                if stopper.sleep(every.as_duration()) {
                    let condition = until.source();
                    return Err(EffectError::before(format!(
                        "`{condition}` did not hold in {readings} readings; the last one {last}"
                    )));
                }
            }
        }
    }
}

/// How many characters of what a reading says are shown.
const MAX_SHOWN: usize = 300;

/// What a reading says, for people who wait for another one: the first row with its columns' names,
/// or the last line.
fn in_words(reading: &Reading) -> String {
    let list = |name: &str| reading.names.get(name).and_then(Json::as_array);
    if let (Some(columns), Some(row)) =
        (list("columns"), list("rows").and_then(|rows| rows.first()?.as_array()))
    {
        let plain = |cell: &Json| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
        let cells: Vec<String> = columns
            .iter()
            .zip(row)
            .map(|(column, cell)| format!("{} {}", plain(column), plain(cell)))
            .collect();
        return cells.join(", ").chars().take(MAX_SHOWN).collect();
    }
    let last = reading
        .names
        .get("stdout")
        .and_then(Json::as_str)
        .and_then(|text| text.lines().next_back());
    last.unwrap_or(&reading.summary).chars().take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reading_is_told_by_its_first_row_or_its_last_line() {
        let told = |names: Json| {
            in_words(&Reading {
                names: names.as_object().cloned().unwrap_or_default(),
                summary: "exit 0".to_owned(),
                ..Reading::default()
            })
        };
        assert_eq!(
            told(json!({ "columns": ["tables_left", "at"], "rows": [[2, "0/1F"], [3, "x"]] })),
            "tables_left 2, at 0/1F"
        );
        assert_eq!(told(json!({ "columns": ["a"], "rows": [] })), "exit 0");
        assert_eq!(told(json!({ "stdout": "one\ntwo\n" })), "two");
        assert_eq!(told(json!({ "stdout": "" })), "exit 0");
    }
}
