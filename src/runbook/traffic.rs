//! Where traffic is divided between an old and a new side, how it is moved, and by what readings it
//! is judged on the way. Knows nothing of how a weight is set.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::action::{Action, Tls, Value};
pub use super::raw::Back;
use super::raw::RawGrowth;
use super::text::{Text, TextError};
use super::zone::{RecordKind, Zone};
use super::{Condition, Span};

/// What divides the traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic<T> {
    Haproxy(Haproxy<T>),
    Nginx(Nginx<T>),
    Dns(Weighted<T>),
    Run(Commands<T>),
}

/// Two servers of a backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Haproxy<T> {
    pub socket: T,
    pub backend: T,
    pub from: T,
    pub to: T,
}

/// Two lines of a file of servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nginx<T> {
    pub file: T,
    pub from: T,
    pub to: T,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<T>,
    pub reload: Vec<T>,
}

/// Two weighted sets of records that a name has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Weighted<T> {
    pub zone: Zone<T>,
    pub name: T,
    #[serde(rename = "type")]
    pub kind: RecordKind,
    pub from: T,
    pub to: T,
}

/// Commands that set and print the weight of the new side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Commands<T> {
    pub set: Vec<T>,
    pub get: Vec<T>,
}

/// Traffic that is moved in steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shift<T> {
    /// What it is called.
    pub name: String,
    pub traffic: Traffic<T>,
    /// Percent of the traffic for the new side, one after another.
    pub steps: Vec<u8>,
    /// How long each of them is watched.
    pub bake: Span,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub analysis: Vec<Analysis<T>>,
    pub back: Back,
    /// Whether it only brings back the weights that were found first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restores: bool,
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
    #[serde(default = "super::action::none", skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls<T>>,
    pub query: T,
    #[serde(default = "super::action::none", skip_serializing_if = "Option::is_none")]
    pub baseline: Option<T>,
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
        matches!(&self.source, Source::Read(read) if matches!(**read, Action::Run(_)))
    }
}

impl<T> Shift<T> {
    /// Whether it begins a command.
    pub fn runs_commands(&self) -> bool {
        matches!(self.traffic, Traffic::Nginx(_) | Traffic::Run(_))
            || self.analysis.iter().any(Analysis::runs_commands)
    }

    /// The conditions of its readings.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.analysis.iter().flat_map(|analysis| analysis.success.iter().chain(&analysis.failure))
    }

    /// The secrets that it and its readings use.
    pub fn secrets(&self) -> Vec<&str> {
        let own = if let Traffic::Dns(weighted) = &self.traffic {
            weighted.zone.secrets()
        } else {
            Vec::new()
        };
        let of_readings = self.analysis.iter().flat_map(|analysis| analysis.source.secrets());
        own.into_iter().chain(of_readings).collect()
    }
}

impl<T> Source<T> {
    /// The secrets that it uses.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Source::Prometheus(prometheus) => {
                prometheus.headers.values().filter_map(Value::secret).collect()
            }
            Source::Read(read) => read.secrets(),
        }
    }
}

impl<T: Clone> Shift<T> {
    /// What brings back the weights that were found first.
    pub fn inverse(&self) -> Shift<T> {
        Shift { analysis: Vec::new(), restores: true, ..self.clone() }
    }
}

impl Shift<Text> {
    pub fn render(&self, values: &Json) -> Result<Shift<String>, TextError> {
        Ok(Shift {
            name: self.name.clone(),
            traffic: self.traffic.render(values)?,
            steps: self.steps.clone(),
            bake: self.bake,
            analysis: self
                .analysis
                .iter()
                .map(|analysis| analysis.render(values))
                .collect::<Result<_, _>>()?,
            back: self.back,
            restores: self.restores,
        })
    }

    /// Every text in it, for checking names.
    pub fn texts(&self) -> Vec<&Text> {
        self.traffic
            .texts()
            .into_iter()
            .chain(self.analysis.iter().flat_map(Analysis::texts))
            .collect()
    }
}

impl Traffic<Text> {
    fn render(&self, values: &Json) -> Result<Traffic<String>, TextError> {
        let one = |text: &Text| text.render(values);
        let all = |texts: &[Text]| texts.iter().map(one).collect::<Result<Vec<_>, _>>();
        Ok(match self {
            Traffic::Haproxy(Haproxy { socket, backend, from, to }) => Traffic::Haproxy(Haproxy {
                socket: one(socket)?,
                backend: one(backend)?,
                from: one(from)?,
                to: one(to)?,
            }),
            Traffic::Nginx(Nginx { file, from, to, test, reload }) => Traffic::Nginx(Nginx {
                file: one(file)?,
                from: one(from)?,
                to: one(to)?,
                test: all(test)?,
                reload: all(reload)?,
            }),
            Traffic::Dns(Weighted { zone, name, kind, from, to }) => Traffic::Dns(Weighted {
                zone: zone.render(values)?,
                name: one(name)?,
                kind: *kind,
                from: one(from)?,
                to: one(to)?,
            }),
            Traffic::Run(Commands { set, get }) => {
                Traffic::Run(Commands { set: all(set)?, get: all(get)? })
            }
        })
    }

    fn texts(&self) -> Vec<&Text> {
        match self {
            Traffic::Haproxy(Haproxy { socket, backend, from, to }) => {
                vec![socket, backend, from, to]
            }
            Traffic::Nginx(Nginx { file, from, to, test, reload }) => {
                [file, from, to].into_iter().chain(test).chain(reload).collect()
            }
            Traffic::Dns(Weighted { zone, name, from, to, .. }) => {
                zone.texts().into_iter().chain([name, from, to]).collect()
            }
            Traffic::Run(Commands { set, get }) => set.iter().chain(get).collect(),
        }
    }
}

impl Analysis<Text> {
    /// Its texts with these values.
    ///
    /// # Errors
    /// The first name that has no value.
    pub fn render(&self, values: &Json) -> Result<Analysis<String>, TextError> {
        Ok(Analysis {
            name: self.name.clone(),
            source: match &self.source {
                Source::Prometheus(prometheus) => Source::Prometheus(prometheus.render(values)?),
                Source::Read(read) => Source::Read(Box::new(read.render(values)?)),
            },
            success: self.success.clone(),
            failure: self.failure.clone(),
            every: self.every,
            initial_delay: self.initial_delay,
            failure_limit: self.failure_limit,
        })
    }

    /// Every text in it.
    pub fn texts(&self) -> Vec<&Text> {
        match &self.source {
            Source::Prometheus(Prometheus { url, headers, tls, query, baseline }) => {
                let headers = headers.values().filter_map(Value::text);
                [url, query]
                    .into_iter()
                    .chain(baseline)
                    .chain(headers)
                    .chain(tls.iter().flat_map(Tls::texts))
                    .collect()
            }
            Source::Read(read) => read.texts(),
        }
    }
}

impl Prometheus<Text> {
    fn render(&self, values: &Json) -> Result<Prometheus<String>, TextError> {
        let headers =
            self.headers.iter().map(|(name, value)| Ok((name.clone(), value.render(values)?)));
        Ok(Prometheus {
            url: self.url.render_url(values)?,
            headers: headers.collect::<Result<_, TextError>>()?,
            tls: self.tls.as_ref().map(|tls| tls.render(values)).transpose()?,
            query: self.query.render(values)?,
            baseline: self.baseline.as_ref().map(|text| text.render(values)).transpose()?,
        })
    }
}

impl Shift<String> {
    /// What it does, in words.
    pub fn in_words(&self) -> String {
        let where_to = match &self.traffic {
            Traffic::Haproxy(haproxy) => {
                format!("from {} to {} of {} in HAProxy", haproxy.from, haproxy.to, haproxy.backend)
            }
            Traffic::Nginx(nginx) => {
                format!("from {} to {} in {}", nginx.from, nginx.to, nginx.file)
            }
            Traffic::Dns(Weighted { zone, name, kind, from, to }) => {
                format!(
                    "from {from} to {to}, the weights of {} of {name} in {}",
                    kind.word(),
                    zone.in_words()
                )
            }
            Traffic::Run(commands) => format!("by {}", commands.set.join(" ")),
        };
        if self.restores {
            return format!("give {} back the weights that were found ({where_to})", self.name);
        }
        let steps: Vec<String> = self.steps.iter().map(u8::to_string).collect();
        let mut words = format!("shift {} % of {} {where_to}", steps.join(", "), self.name);
        if self.bake > Span::default() {
            words.push_str(&format!(", {} each", self.bake));
        }
        if !self.analysis.is_empty() {
            let names: Vec<&str> =
                self.analysis.iter().map(|analysis| analysis.name.as_str()).collect();
            words.push_str(&format!(", watching {}", names.join(", ")));
        }
        words
    }
}

/// The percentages that grow by a formula, up to the last one.
///
/// # Errors
/// If it does not say how they grow, or they begin behind their end.
pub fn growth(raw: &RawGrowth) -> Result<Vec<u8>, String> {
    let last = raw.to.unwrap_or(100);
    let next: Box<dyn Fn(u8) -> u8> = match (raw.by, raw.times) {
        (Some(by), None) => Box::new(move |now| now.saturating_add(by)),
        (None, Some(times)) => Box::new(move |now| now.saturating_mul(times)),
        _ => return Err("steps grow `by` so many percent, or so many `times`".to_owned()),
    };
    let first =
        raw.from.or(raw.by).ok_or("steps that grow so many `times` need a first one, `from`")?;
    if first > last {
        return Err(format!("the first step is {first} %, which is beyond the last one, {last} %"));
    }
    let steps =
        std::iter::successors(Some(first), |&now| (now < last).then(|| next(now).min(last)));
    Ok(steps.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_to_their_end() {
        let grown = |from, by, times, to| growth(&RawGrowth { from, by, times, to });
        assert_eq!(grown(None, Some(20), None, None), Ok(vec![20, 40, 60, 80, 100]));
        assert_eq!(grown(Some(5), None, Some(2), None), Ok(vec![5, 10, 20, 40, 80, 100]));
        assert_eq!(grown(Some(10), Some(30), None, Some(50)), Ok(vec![10, 40, 50]));
        assert_eq!(grown(Some(100), None, Some(100), None), Ok(vec![100]));
        assert_eq!(grown(None, Some(100), None, None), Ok(vec![100]));
        for wrong in [
            grown(None, None, Some(2), None),
            grown(Some(5), None, None, None),
            grown(Some(60), Some(1), None, Some(50)),
        ] {
            assert!(wrong.is_err(), "{wrong:?}");
        }
        assert!(grown(Some(5), Some(5), Some(2), None).is_err());
    }
}
