//! Readings by which something is judged while it goes on. Knows nothing of how they are taken.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::runbook::action::{
    Action, Parts, RawHttp, RawRun, RawSql, RawTls, RawValue, Rendering, Tls, Value, Walk,
    converted_tls,
};
use crate::runbook::convert::{Converter, condition, span, text};
use crate::runbook::{Condition, Span, Text, TextError};

/// A reading from exactly one of `prometheus`, `http`, `sql` and `run`, and what it says:
/// `success`, `failure`, or both. Where neither holds, and where there is no data, it is
/// inconclusive.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RawMeasure {
    /// The Prometheus that answers the `query`.
    pub prometheus: Option<RawPrometheus>,
    /// PromQL. Its first value is `value`, and `series` has all, each with `labels` and `value`.
    #[schemars(extend("format" = "template"))]
    pub query: Option<String>,
    /// PromQL of what to compare with, such as the old side; its value is `baseline`.
    #[schemars(extend("format" = "template"))]
    pub baseline: Option<String>,
    /// A GET or HEAD request.
    pub http: Option<RawHttp>,
    /// A query.
    pub sql: Option<RawSql>,
    /// A command that only reads.
    pub run: Option<RawRun>,
    /// How much of what it says is kept for expressions: the end of `stdout` and of `stderr`
    /// (default 1MiB of each), the beginning of an answer or of rows (default 8MiB). An expression
    /// that reads what was cut cannot be decided.
    #[schemars(extend("format" = "size"))]
    pub keep_output: Option<String>,
    /// True of a good reading.
    #[schemars(extend("format" = "cel"))]
    pub success: Option<String>,
    /// True of a bad reading.
    #[schemars(extend("format" = "cel"))]
    pub failure: Option<String>,
    /// The pause between two readings. Default 5s.
    #[schemars(extend("format" = "duration"))]
    pub every: Option<String>,
}

/// A Prometheus: its address, or a map.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawPrometheus {
    Url(#[schemars(extend("format" = "template"))] String),
    Map(RawPrometheusMap),
}

/// A Prometheus, and what it wants to see.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawPrometheusMap {
    /// Its address.
    #[schemars(extend("format" = "template"))]
    pub url: String,
    /// Request headers.
    #[serde(default)]
    pub headers: IndexMap<String, RawValue>,
    /// Certificates, for https.
    pub tls: Option<RawTls>,
}

/// A repeated reading while a weight is watched.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawAnalysis {
    /// What it is called.
    pub name: String,
    #[serde(flatten)]
    pub measure: RawMeasure,
    /// How long after a weight is set it is first read. Default 0s.
    #[schemars(extend("format" = "duration"))]
    pub initial_delay: Option<String>,
    /// How many bad readings of one weight are put up with. Default 0.
    #[serde(default)]
    pub failure_limit: u32,
}

/// A repeated reading, and what it says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis<T> {
    pub name: String,
    pub source: Source<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<Condition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Condition>,
    pub every: Span,
    pub initial_delay: Span,
    pub failure_limit: u32,
}

/// What one reading says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    Good,
    Bad,
    Inconclusive,
}

/// Where a reading comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source<T> {
    Prometheus(Prometheus<T>),
    Read(Box<Action<T>>),
}

/// A query in PromQL, and another one to compare it with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prometheus<T> {
    pub url: T,
    #[serde(default = "IndexMap::new", skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, Value<T>>,
    #[serde(default = "crate::runbook::action::none", skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls<T>>,
    pub query: T,
    #[serde(default = "crate::runbook::action::none", skip_serializing_if = "Option::is_none")]
    pub baseline: Option<T>,
}

impl Converter<'_> {
    pub fn analysis(&mut self, raw: &RawAnalysis, below: &[&str]) -> Option<Analysis<Text>> {
        let mut way = below.to_vec();
        way.extend(["shift", "analysis"]);
        let analysis = self.measure(&raw.measure, &format!("the analysis `{}`", raw.name), &way)?;
        Some(Analysis {
            name: raw.name.clone(),
            initial_delay: span(raw.initial_delay.as_deref()).unwrap_or_default(),
            failure_limit: raw.failure_limit,
            ..analysis
        })
    }

    /// What is read, and what it says. `what` names it for people.
    pub fn measure(
        &mut self,
        raw: &RawMeasure,
        what: &str,
        way: &[&str],
    ) -> Option<Analysis<Text>> {
        let (below, key) = way.split_at(way.len() - 1);
        let readings =
            [raw.prometheus.is_some(), raw.http.is_some(), raw.sql.is_some(), raw.run.is_some()];
        let is_one = readings.iter().filter(|there| **there).count() == 1
            && raw.prometheus.is_some() == raw.query.is_some();
        if !is_one || raw.baseline.is_some() && raw.query.is_none() {
            let help = Some(
                "give it prometheus with a query (and perhaps a baseline), http, sql, or run"
                    .into(),
            );
            self.report(below, key[0], format!("{what} needs exactly one reading"), help);
            return None;
        }
        let mut source = match (&raw.prometheus, &raw.query, &raw.http, &raw.sql, &raw.run) {
            (Some(server), Some(query), ..) => {
                let none = IndexMap::new();
                let (url, headers, certificates) = match server {
                    RawPrometheus::Url(url) => (url, &none, None),
                    RawPrometheus::Map(map) => (&map.url, &map.headers, map.tls.as_ref()),
                };
                Source::Prometheus(Prometheus {
                    url: text(url),
                    headers: self.values(headers, way, "headers"),
                    tls: certificates.map(converted_tls),
                    query: text(query),
                    baseline: raw.baseline.as_deref().map(text),
                })
            }
            (_, _, Some(http), ..) => Source::Read(Box::new(Action::Http(self.http(http, way)?))),
            (_, _, _, Some(sql), _) => Source::Read(Box::new(Action::Sql(self.sql(sql, way)?))),
            (.., Some(run)) => Source::Read(Box::new(Action::Run(self.reading_run(run, way)?))),
            _ => return None,
        };
        match &mut source {
            Source::Read(action) => self.keep(action, raw.keep_output.as_deref(), way),
            Source::Prometheus(_) if raw.keep_output.is_some() => {
                let message = "the answer of a Prometheus is read whole or not at all".to_owned();
                self.report(way, "keep_output", message, Some("leave `keep_output` out".into()));
            }
            Source::Prometheus(_) => {}
        }
        if let Source::Read(action) = &source
            && !action.facts().can_be_a_reading
        {
            let help = Some("use a GET or HEAD request, or a query".into());
            self.report(below, key[0], format!("{what} must only read"), help);
        }
        if raw.success.is_none() && raw.failure.is_none() {
            let help = Some("give it `success`, `failure`, or both".into());
            self.report(below, key[0], format!("nothing says when {what} is good"), help);
        }
        Some(Analysis {
            name: what.to_owned(),
            source,
            success: raw.success.as_deref().map(condition),
            failure: raw.failure.as_deref().map(condition),
            every: span(raw.every.as_deref()).unwrap_or(Span::from_secs(5)),
            initial_delay: Span::ZERO,
            failure_limit: 0,
        })
    }
}

impl std::fmt::Display for Says {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Says::Good => "good",
            Says::Bad => "bad",
            Says::Inconclusive => "inconclusive",
        })
    }
}

impl<T> Analysis<T> {
    /// Whether a reading begins a command.
    pub fn runs_commands(&self) -> bool {
        match &self.source {
            Source::Prometheus(_) => false,
            Source::Read(read) => read.begins_commands(),
        }
    }
}

impl<T> Analysis<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Analysis<W::Text>, W::Error> {
        let Analysis { name, source, success, failure, every, initial_delay, failure_limit } = self;
        success.iter().chain(failure).for_each(|condition| walk.condition(condition));
        Ok(Analysis {
            name: name.clone(),
            source: source.try_map(walk)?,
            success: success.clone(),
            failure: failure.clone(),
            every: *every,
            initial_delay: *initial_delay,
            failure_limit: *failure_limit,
        })
    }

    /// What stands in it.
    pub fn parts(&self) -> Parts<'_, T> {
        let mut parts = Parts::none();
        let Ok(_) = self.try_map(&mut parts);
        parts
    }
}

impl<T> Source<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Source<W::Text>, W::Error> {
        Ok(match self {
            Source::Prometheus(prometheus) => Source::Prometheus(prometheus.try_map(walk)?),
            Source::Read(read) => Source::Read(Box::new(read.try_map(walk)?)),
        })
    }

    /// The secrets that it uses.
    pub fn secrets(&self) -> Vec<&str> {
        let mut parts = Parts::none();
        let Ok(_) = self.try_map(&mut parts);
        parts.secrets
    }
}

impl<T> Prometheus<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Prometheus<W::Text>, W::Error> {
        let Prometheus { url, headers, tls, query, baseline } = self;
        Ok(Prometheus {
            url: walk.address(url)?,
            query: walk.text(query)?,
            baseline: walk.optional(baseline)?,
            headers: walk.named(headers, |walk, value| value.try_map(walk))?,
            tls: tls.as_ref().map(|tls| tls.try_map(walk)).transpose()?,
        })
    }
}

impl Analysis<Text> {
    /// Its texts with these values.
    ///
    /// # Errors
    /// The first name that has no value.
    pub fn render(&self, values: &Json) -> Result<Analysis<String>, TextError> {
        self.try_map(&mut Rendering { values })
    }
}
