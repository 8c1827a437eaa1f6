//! Watches while a weight bakes: each analysis is read again and again on a thread of its own, and the first that is bad once too
//! often ends the watch. A reading is good, bad, or inconclusive; what cannot be had is never good and never bad.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use super::command::{with_stem, within};
use super::{EffectError, Job, Keeper, Reading, Stopper, Teller};
use crate::effect::http;
use crate::runbook::Span;
use crate::runbook::action::{Action, Http, look_up};
use crate::runbook::raw::Method;
use crate::runbook::traffic::{Analysis, Prometheus, Shift, Source};

/// How long one reading may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often everything is looked at.
const TICK: Duration = Duration::from_millis(50);

/// What became of a weight that was watched.
pub struct Baked {
    pub verdict: Verdict,
    /// The secrets that readings were given, each with a keyed digest.
    pub secrets: BTreeMap<String, String>,
}

pub enum Verdict {
    Good(String),
    Bad(String),
    Inconclusive(String),
    Stopped,
}

/// What one reading says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Good,
    Bad,
    Inconclusive,
}

struct Told {
    of: usize,
    says: Says,
    words: String,
    secrets: BTreeMap<String, String>,
}

/// What is known of one analysis at this weight.
#[derive(Clone, Default)]
struct Known {
    last: Option<(Says, String)>,
    bad: u32,
}

/// Asks each Prometheus once before anything is changed: a query that it does not understand would never say anything.
///
/// # Errors
/// If one cannot be asked, or refuses a query.
pub fn try_queries(job: &Job, shift: &Shift<String>) -> Result<(), EffectError> {
    for analysis in &shift.analysis {
        let Source::Prometheus(prometheus) = &analysis.source else { continue };
        for query in [&prometheus.query].into_iter().chain(&prometheus.baseline) {
            let wrong = |why: &str| {
                let words = format!("the analysis `{}` cannot be read at {}: {why}; nothing was changed", analysis.name, prometheus.url);
                EffectError::before(words)
            };
            match ask(job, prometheus, query, &Stopper::default()) {
                Ok(_) | Err(Problem::NoData(_)) => {}
                Err(Problem::Unanswered(why)) => return Err(wrong(&why)),
                Err(Problem::Refused(why)) => return Err(wrong(&format!("{why}; correct its query: {query}"))),
            }
        }
    }
    Ok(())
}

/// Watches a weight for as long as it bakes, and until every analysis has said its last word.
pub fn bake(job: &Job, shift: &Shift<String>, percent: u8, keeper: &Keeper, stopper: &Arc<Stopper>, teller: &Teller) -> Baked {
    let (halt, is_over) = (Arc::new(Stopper::default()), Arc::new(AtomicBool::new(false)));
    let (send, receive) = channel();
    for (of, analysis) in shift.analysis.iter().enumerate() {
        let reader = Reader {
            of,
            analysis: analysis.clone(),
            job: Job { timeout: Some(PATIENCE), ..with_stem(job, &format!("analysis{of}")) },
            keeper: keeper.clone(),
            halt: Arc::clone(&halt),
            is_over: Arc::clone(&is_over),
            send: send.clone(),
        };
        std::thread::spawn(move || reader.watch());
    }
    drop(send);
    let (bake, mut passed, mut looked) = (shift.bake.as_duration(), Duration::ZERO, Instant::now());
    let mut known = vec![Known::default(); shift.analysis.len()];
    let mut secrets = BTreeMap::new();
    let mut shown: Option<Duration> = None;
    let verdict = loop {
        if stopper.is_stopped() {
            break Verdict::Stopped;
        }
        match receive.recv_timeout(TICK) {
            Ok(told) => {
                let (at, analysis) = (&mut known[told.of], &shift.analysis[told.of]);
                secrets.extend(told.secrets);
                if told.says == Says::Bad {
                    at.bad += 1;
                }
                at.last = Some((told.says, told.words));
                if at.bad > analysis.failure_limit {
                    let words = at.last.as_ref().map(|(_, words)| words.as_str()).unwrap_or_default();
                    let count = if at.bad == 1 { "a bad reading".to_owned() } else { format!("{} bad readings", at.bad) };
                    break Verdict::Bad(format!("the analysis `{}` failed with {count}: {words}", analysis.name));
                }
            }
            Err(RecvTimeoutError::Disconnected) if passed >= bake => break verdict(shift, &known),
            Err(RecvTimeoutError::Disconnected) => drop(stopper.sleep(TICK)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        // While everything stood still, nothing was watched.
        passed += looked.elapsed().min(Duration::from_secs(1));
        looked = Instant::now();
        if passed >= bake {
            is_over.store(true, Ordering::Relaxed);
        }
        if shown.is_none_or(|shown| passed - shown >= Duration::from_secs(1)) {
            shown = Some(passed);
            let left = Span::from_secs(bake.saturating_sub(passed).as_secs());
            teller.progress(format!("{percent} % on the new side, {left} left{}", summary(shift, &known)));
        }
    };
    halt.stop();
    Baked { verdict, secrets }
}

/// What all of them said last.
fn verdict(shift: &Shift<String>, known: &[Known]) -> Verdict {
    let unclear = shift.analysis.iter().zip(known).find_map(|(analysis, known)| match &known.last {
        None => Some(format!("the analysis `{}` was never read", analysis.name)),
        Some((Says::Inconclusive, words)) => Some(format!("the analysis `{}` is inconclusive: {words}", analysis.name)),
        Some(_) => None,
    });
    match unclear {
        Some(words) => Verdict::Inconclusive(words),
        None => Verdict::Good(summary(shift, known).trim_start_matches("; ").to_owned()),
    }
}

fn summary(shift: &Shift<String>, known: &[Known]) -> String {
    let each = shift.analysis.iter().zip(known).map(|(analysis, known)| match &known.last {
        None => format!("; {} not read yet", analysis.name),
        Some((says, words)) => {
            let word = match says {
                Says::Good => "good",
                Says::Bad => "bad",
                Says::Inconclusive => "inconclusive",
            };
            format!("; {} {word} ({words})", analysis.name)
        }
    });
    each.collect()
}

/// Reads one analysis again and again.
struct Reader {
    of: usize,
    analysis: Analysis<String>,
    job: Job,
    keeper: Keeper,
    halt: Arc<Stopper>,
    is_over: Arc<AtomicBool>,
    send: Sender<Told>,
}

impl Reader {
    fn watch(self) {
        if self.halt.sleep(self.analysis.initial_delay.as_duration()) {
            return;
        }
        loop {
            // The last reading is one that begins when the time is over.
            let is_last = self.is_over.load(Ordering::Relaxed);
            let told = self.read();
            if self.send.send(told).is_err() || is_last {
                return;
            }
            let begun = Instant::now();
            while begun.elapsed() < self.analysis.every.as_duration() && !self.is_over.load(Ordering::Relaxed) {
                if self.halt.sleep(TICK.min(self.analysis.every.as_duration())) {
                    return;
                }
            }
        }
    }

    fn read(&self) -> Told {
        let mut secrets = BTreeMap::new();
        let (says, words) = match self.reading() {
            Ok(reading) => {
                secrets.extend(reading.secrets.clone());
                judge(&self.analysis, &self.job.names, &reading)
            }
            Err(why) => (Says::Inconclusive, why),
        };
        Told { of: self.of, says, words, secrets }
    }

    /// The names that the conditions see, or why there are none.
    fn reading(&self) -> Result<Reading, String> {
        match &self.analysis.source {
            Source::Prometheus(prometheus) => {
                let mut reading = ask(&self.job, prometheus, &prometheus.query, &self.halt).map_err(Problem::words)?;
                if let Some(query) = &prometheus.baseline {
                    let baseline =
                        ask(&self.job, prometheus, query, &self.halt).map_err(|problem| format!("the baseline: {}", problem.words()))?;
                    let value = baseline.names.get("value").filter(|value| !value.is_null());
                    let value = value.ok_or("the baseline has several series: aggregate them, as with sum()")?;
                    reading.names.insert("baseline".into(), value.clone());
                }
                Ok(reading)
            }
            Source::Read(action) => match &**action {
                Action::Http(request) => http::perform(&self.job, request, &self.halt).map_err(|error| error.message),
                Action::Run(run) => within(&self.job, run, &self.keeper, &self.halt, PATIENCE).map_err(|error| error.message),
                other => Err(format!("{} is no reading", other.kind())),
            },
        }
    }
}

/// What a reading says by the conditions on it, and in words.
fn judge(analysis: &Analysis<String>, around: &Json, reading: &Reading) -> (Says, String) {
    let conditions = || analysis.success.iter().chain(&analysis.failure);
    let references: Vec<_> = conditions().flat_map(|condition| condition.references()).collect();
    let looks_at = |name: &str| references.iter().any(|reference| reference.first().is_some_and(|first| first == name));
    // A status or exit code that nobody looks at is no answer.
    if !reading.is_good && !looks_at("status") && !looks_at("exit_code") {
        return (Says::Inconclusive, reading.summary.clone());
    }
    let mut names = around.as_object().cloned().unwrap_or_default();
    names.extend(reading.names.clone());
    let names = Json::Object(names);
    if looks_at("value") && names.get("value").is_none_or(Json::is_null) {
        return (Says::Inconclusive, "the query has several series: aggregate them, as with sum(), or look at `series`".to_owned());
    }
    let mut shown: Vec<String> = references
        .iter()
        .filter_map(|reference| {
            let value: String = look_up(&names, reference)?.to_string().chars().take(80).collect();
            Some(format!("{} is {value}", reference.join(".")))
        })
        .collect();
    shown.dedup();
    let shown = if shown.is_empty() { reading.summary.clone() } else { shown.join(", ") };
    let holds = |condition: &Option<crate::runbook::Condition>| condition.as_ref().map(|condition| condition.holds(&names)).transpose();
    let says = match (holds(&analysis.success), holds(&analysis.failure)) {
        (Err(error), _) | (_, Err(error)) => return (Says::Inconclusive, error.0),
        (Ok(success), Ok(failure)) => match (success, failure) {
            (Some(true), None | Some(false)) | (None, Some(false)) => Says::Good,
            (Some(false), None) | (None | Some(false), Some(true)) => Says::Bad,
            (Some(true), Some(true)) | (Some(false), Some(false)) | (None, None) => Says::Inconclusive,
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
    fn words(self) -> String {
        let (Problem::NoData(why) | Problem::Unanswered(why) | Problem::Refused(why)) = self;
        why
    }
}

/// Asks Prometheus. `value` is null if there are several series.
fn ask(job: &Job, prometheus: &Prometheus<String>, query: &str, halt: &Stopper) -> Result<Reading, Problem> {
    let url = format!("{}/api/v1/query?query={}", prometheus.url.trim_end_matches('/'), encoded(query));
    let (headers, tls) = (prometheus.headers.clone(), prometheus.tls.clone());
    let request = Http { method: Method::Get, url, headers: IndexMap::from_iter(headers), body: None, tls };
    let job = Job { timeout: Some(job.timeout.unwrap_or(PATIENCE).min(PATIENCE)), ..job.clone() };
    let unanswered = |error: EffectError| {
        // The address says it, and is better read without the query in it.
        Problem::Unanswered(error.message.replace(&request.url, &prometheus.url))
    };
    let answer = http::perform(&job, &request, halt).map_err(unanswered)?;
    let said = answer.names.get("json").unwrap_or(&Json::Null);
    match said.get("status").and_then(Json::as_str) {
        Some("success") => {}
        Some(_) => {
            let text = |key: &str| said.get(key).and_then(Json::as_str).unwrap_or_default();
            let why = format!("{}: {}", text("errorType"), text("error"));
            return Err(if text("errorType") == "bad_data" { Problem::Refused(why) } else { Problem::Unanswered(why) });
        }
        None => return Err(Problem::Unanswered(format!("it answered {} and not as Prometheus does", answer.summary))),
    }
    let result = said.pointer("/data/result").and_then(Json::as_array);
    let result = result.map(Vec::as_slice).unwrap_or_default();
    let number = |sample: Option<&Json>| sample?.get(1)?.as_str()?.parse::<f64>().ok();
    let series: Vec<(Json, Option<f64>)> = match said.pointer("/data/resultType").and_then(Json::as_str) {
        Some("scalar") => vec![(json!({}), result.get(1).and_then(Json::as_str).and_then(|text| text.parse().ok()))],
        Some("vector") => {
            let one = |one: &Json| (one.get("metric").cloned().unwrap_or_default(), number(one.get("value")));
            result.iter().map(one).collect()
        }
        other => return Err(Problem::Refused(format!("the query gives a {}, not a value", other.unwrap_or("nothing")))),
    };
    if series.is_empty() {
        return Err(Problem::NoData("no data: the query has no value".to_owned()));
    }
    if let Some((_, value)) = series.iter().find(|(_, value)| value.is_none_or(|value| !value.is_finite())) {
        let value = value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
        return Err(Problem::NoData(format!("no data: the query gives {value}")));
    }
    let mut names = Map::new();
    let only = if let [(_, value)] = series.as_slice() { json!(value) } else { Json::Null };
    names.insert("value".into(), only);
    let all = series.into_iter().map(|(labels, value)| json!({ "labels": labels, "value": value }));
    names.insert("series".into(), all.collect());
    Ok(Reading { names, ..answer })
}

/// A text in the query of an address.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::Condition;

    fn says(success: Option<&str>, failure: Option<&str>, value: Json, is_good: bool) -> Says {
        let condition = |source: Option<&str>| source.map(|source| Condition::compile(source).unwrap_or_default());
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
        judge(&analysis, &json!({ "limit": 5 }), &Reading { names, is_good, ..Reading::default() }).0
    }

    #[test]
    fn a_reading_is_good_bad_or_neither() {
        assert_eq!(says(Some("value < limit"), None, json!(1.0), true), Says::Good);
        assert_eq!(says(Some("value < 5.0"), None, json!(6.0), true), Says::Bad);
        assert_eq!(says(None, Some("value > 5.0"), json!(6.0), true), Says::Bad);
        assert_eq!(says(None, Some("value > 5.0"), json!(1.0), true), Says::Good);
        for (value, expected) in [(1.0, Says::Good), (3.0, Says::Inconclusive), (6.0, Says::Bad)] {
            assert_eq!(says(Some("value < 2.0"), Some("value > 5.0"), json!(value), true), expected);
        }
        assert_eq!(says(Some("true"), Some("true"), json!(1.0), true), Says::Inconclusive);
        assert_eq!(says(Some("value < 5.0"), None, json!("x"), true), Says::Inconclusive, "what has no value says nothing");
        assert_eq!(says(Some("value < 5.0"), None, Json::Null, true), Says::Inconclusive, "several series");
        assert_eq!(says(Some("value < 5.0"), None, json!(1.0), false), Says::Inconclusive, "an error page");
    }

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(encoded("sum(rate(x{a=\"é\"}[5s]))"), "sum%28rate%28x%7Ba%3D%22%C3%A9%22%7D%5B5s%5D%29%29");
    }
}
