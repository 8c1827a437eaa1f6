//! One reading of a number or a state, and what it says: good, bad, or inconclusive. What cannot be
//! had is never good and never bad. Knows nothing of how often it is read, nor of what follows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use super::aside::within;
use super::{EffectError, Job, Keeper, Reading, Stopper, When, http};
use crate::runbook::action::{Action, Follow, Http, Method, look_up};
use crate::runbook::percent_encoded;
use crate::runbook::traffic::{Analysis, Prometheus, Says, Source};

/// How long one reading may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a reading said.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    pub says: Says,
    /// The values that its conditions looked at, or why there are none.
    pub words: String,
    /// The secrets that it was given, each with a keyed digest.
    pub secrets: BTreeMap<String, String>,
    /// Whether it cannot be read until somebody does something about it: its program is not there,
    /// its query is not understood.
    pub is_shut: bool,
}

/// Reads once.
pub fn read(job: &Job, analysis: &Analysis<String>, keeper: &Keeper, halt: &Arc<Stopper>) -> Said {
    match reading(job, analysis, keeper, halt) {
        Ok(reading) => {
            let (says, words) = judge(analysis, &job.names, &reading);
            Said { says, words, secrets: reading.secrets, is_shut: false }
        }
        Err(EffectError { when, message }) => {
            // A command either begins or is not there.
            let is_shut = when == When::Shut || analysis.runs_commands() && when == When::Before;
            Said { says: Says::Inconclusive, words: message, secrets: BTreeMap::new(), is_shut }
        }
    }
}

/// Asks a Prometheus once before anything is changed: a query that it does not understand would
/// never say anything.
///
/// # Errors
/// If it cannot be asked, or refuses the query.
pub fn try_query(job: &Job, analysis: &Analysis<String>) -> Result<(), EffectError> {
    let Source::Prometheus(prometheus) = &analysis.source else { return Ok(()) };
    for query in [&prometheus.query].into_iter().chain(&prometheus.baseline) {
        let wrong = |why: &str| {
            let words = format!(
                "the analysis `{}` cannot be read at {}: {why}; nothing was changed",
                analysis.name, prometheus.url
            );
            EffectError::before(words)
        };
        match ask(job, prometheus, query, &Stopper::default()) {
            Ok(_) | Err(Problem::NoData(_)) => {}
            Err(Problem::Unanswered(why)) => return Err(wrong(&why)),
            Err(Problem::Refused(why)) => {
                return Err(wrong(&format!("{why}; correct its query: {query}")));
            }
        }
    }
    Ok(())
}

/// The names that the conditions see, or why there are none.
fn reading(
    job: &Job,
    analysis: &Analysis<String>,
    keeper: &Keeper,
    halt: &Arc<Stopper>,
) -> Result<Reading, EffectError> {
    match &analysis.source {
        Source::Prometheus(prometheus) => {
            let mut reading =
                ask(job, prometheus, &prometheus.query, halt).map_err(|problem| problem.of(""))?;
            if let Some(query) = &prometheus.baseline {
                let baseline = ask(job, prometheus, query, halt)
                    .map_err(|problem| problem.of("the baseline: "))?;
                let value = baseline.names.get("value").filter(|value| !value.is_null());
                let several = || {
                    EffectError::during(
                        "the baseline has several series: aggregate them, as with sum()",
                    )
                };
                let value = value.ok_or_else(several)?;
                reading.names.insert("baseline".into(), value.clone());
            }
            Ok(reading)
        }
        Source::Read(action) => match &**action {
            Action::Http(request) => http::perform(job, request, halt),
            Action::Sql(sql) => super::sql::perform(job, sql, halt),
            Action::Run(run) => within(job, run, keeper, halt, PATIENCE),
            other => Err(EffectError::shut(format!("{} is no reading", other.kind()))),
        },
    }
}

/// What a reading says by the conditions on it, and in words.
fn judge(analysis: &Analysis<String>, around: &Json, reading: &Reading) -> (Says, String) {
    let conditions = || analysis.success.iter().chain(&analysis.failure);
    let references: Vec<_> = conditions().flat_map(|condition| condition.references()).collect();
    let looks_at = |name: &str| {
        references.iter().any(|reference| reference.first().is_some_and(|first| first == name))
    };
    // A status or exit code that nobody looks at is no answer.
    if !reading.is_good && !looks_at("status") && !looks_at("exit_code") {
        return (Says::Inconclusive, reading.summary.clone());
    }
    let view = reading.view(around);
    let names = view.names();
    if looks_at("value") && names.get("value").is_none_or(Json::is_null) {
        return (
            Says::Inconclusive,
            "the query has several series: aggregate them, as with sum(), or look at `series`"
                .to_owned(),
        );
    }
    let mut shown: Vec<String> = references
        .iter()
        .filter_map(|reference| {
            let value: String = look_up(names, reference)?.to_string().chars().take(80).collect();
            Some(format!("{} is {value}", reference.join(".")))
        })
        .collect();
    shown.dedup();
    let shown = if shown.is_empty() { reading.summary.clone() } else { shown.join(", ") };
    let holds = |condition: &Option<crate::runbook::Condition>| {
        condition.as_ref().map(|condition| view.holds(condition)).transpose()
    };
    let says = match (holds(&analysis.success), holds(&analysis.failure)) {
        (Err(error), _) | (_, Err(error)) => return (Says::Inconclusive, error.0),
        (Ok(success), Ok(failure)) => match (success, failure) {
            (Some(true), None | Some(false)) | (None, Some(false)) => Says::Good,
            (Some(false), None) | (None | Some(false), Some(true)) => Says::Bad,
            (Some(true), Some(true)) | (Some(false), Some(false)) | (None, None) => {
                Says::Inconclusive
            }
        },
    };
    (says, shown)
}

/// Why a query has no value.
enum Problem {
    /// There is none.
    NoData(String),
    /// Nobody answered as Prometheus does.
    Unanswered(String),
    /// It does not understand the query.
    Refused(String),
}

impl Problem {
    /// The same as an error of what was asked for.
    fn of(self, what: &str) -> EffectError {
        match self {
            Problem::NoData(why) | Problem::Unanswered(why) => {
                EffectError::during(format!("{what}{why}"))
            }
            Problem::Refused(why) => EffectError::shut(format!("{what}{why}")),
        }
    }
}

/// Asks Prometheus. `value` is null if there are several series.
fn ask(
    job: &Job,
    prometheus: &Prometheus<String>,
    query: &str,
    halt: &Stopper,
) -> Result<Reading, Problem> {
    let url = format!(
        "{}/api/v1/query?query={}",
        prometheus.url.trim_end_matches('/'),
        percent_encoded(query)
    );
    let (headers, tls) = (prometheus.headers.clone(), prometheus.tls.clone());
    let request = Http {
        method: Method::Get,
        url,
        headers: IndexMap::from_iter(headers),
        body: None,
        tls,
        follow: Follow::default(),
        keep_output: None,
    };
    let job = Job { timeout: Some(job.timeout.unwrap_or(PATIENCE).min(PATIENCE)), ..job.clone() };
    let unanswered = |error: EffectError| {
        // The address says it, and is better read without the query in it.
        Problem::Unanswered(error.message.replace(&request.url, &prometheus.url))
    };
    let answer = http::perform(&job, &request, halt).map_err(unanswered)?;
    if let Some(cut) = answer.cut.get("json") {
        return Err(Problem::Unanswered(format!("its answer {cut}")));
    }
    let said = answer.names.get("json").unwrap_or(&Json::Null);
    match said.get("status").and_then(Json::as_str) {
        Some("success") => {}
        Some(_) => {
            let text = |key: &str| said.get(key).and_then(Json::as_str).unwrap_or_default();
            let why = format!("{}: {}", text("errorType"), text("error"));
            return Err(if text("errorType") == "bad_data" {
                Problem::Refused(why)
            } else {
                Problem::Unanswered(why)
            });
        }
        None => {
            return Err(Problem::Unanswered(format!(
                "it answered {} and not as Prometheus does",
                answer.summary
            )));
        }
    }
    let result = said.pointer("/data/result").and_then(Json::as_array);
    let result = result.map(Vec::as_slice).unwrap_or_default();
    let number = |sample: Option<&Json>| sample?.get(1)?.as_str()?.parse::<f64>().ok();
    let series: Vec<(Json, Option<f64>)> =
        match said.pointer("/data/resultType").and_then(Json::as_str) {
            Some("scalar") => vec![(
                json!({}),
                result.get(1).and_then(Json::as_str).and_then(|text| text.parse().ok()),
            )],
            Some("vector") => {
                let one = |one: &Json| {
                    (one.get("metric").cloned().unwrap_or_default(), number(one.get("value")))
                };
                result.iter().map(one).collect()
            }
            other => {
                return Err(Problem::Refused(format!(
                    "the query gives a {}, not a value",
                    other.unwrap_or("nothing")
                )));
            }
        };
    if series.is_empty() {
        return Err(Problem::NoData("no data: the query has no value".to_owned()));
    }
    if let Some((_, value)) =
        series.iter().find(|(_, value)| value.is_none_or(|value| !value.is_finite()))
    {
        let value = value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
        return Err(Problem::NoData(format!("no data: the query gives {value}")));
    }
    let mut names = Map::new();
    let only = if let [(_, value)] = series.as_slice() { json!(value) } else { Json::Null };
    names.insert("value".into(), only);
    let all = series.into_iter().map(|(labels, value)| json!({ "labels": labels, "value": value }));
    names.insert("series".into(), all.collect());
    Ok(Reading { names, cut: BTreeMap::new(), ..answer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::{Condition, Span};

    fn says(success: Option<&str>, failure: Option<&str>, value: Json, is_good: bool) -> Says {
        let condition = |source: Option<&str>| {
            source.map(|source| Condition::compile(source).unwrap_or_default())
        };
        let analysis = Analysis {
            name: "a".into(),
            source: Source::Read(Box::new(Action::Join)),
            success: condition(success),
            failure: condition(failure),
            every: Span::default(),
            initial_delay: Span::default(),
            failure_limit: 0,
        };
        let names = Map::from_iter([("value".to_owned(), value)]);
        judge(&analysis, &json!({ "limit": 5 }), &Reading { names, is_good, ..Reading::default() })
            .0
    }

    #[test]
    fn a_reading_is_good_bad_or_neither() {
        assert_eq!(says(Some("value < limit"), None, json!(1.0), true), Says::Good);
        assert_eq!(says(Some("value < 5.0"), None, json!(6.0), true), Says::Bad);
        assert_eq!(says(None, Some("value > 5.0"), json!(6.0), true), Says::Bad);
        assert_eq!(says(None, Some("value > 5.0"), json!(1.0), true), Says::Good);
        for (value, expected) in [(1.0, Says::Good), (3.0, Says::Inconclusive), (6.0, Says::Bad)] {
            assert_eq!(
                says(Some("value < 2.0"), Some("value > 5.0"), json!(value), true),
                expected
            );
        }
        assert_eq!(says(Some("true"), Some("true"), json!(1.0), true), Says::Inconclusive);
        assert_eq!(
            says(Some("value < 5.0"), None, json!("x"), true),
            Says::Inconclusive,
            "what has no value says nothing"
        );
        assert_eq!(
            says(Some("value < 5.0"), None, Json::Null, true),
            Says::Inconclusive,
            "several series"
        );
        assert_eq!(
            says(Some("value < 5.0"), None, json!(1.0), false),
            Says::Inconclusive,
            "an error page"
        );
    }
}
