//! What name servers are to answer. Knows nothing of how they are asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dns::list;
use super::facts::{Behind, ByItself, Commands, DoneBy, Facts, InDryRun, Inverse, Lasts, Named};
use super::value::{RawScalar, scalar_text};
use super::walk::Walk;
use crate::runbook::convert::{Converter, span, text};
use crate::runbook::zone::{RecordKind, Zone};
use crate::runbook::{Span, Text};

/// The answer that all name servers are to give.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawPropagation {
    /// The name of one of the `zones`: all its name servers are asked.
    pub zone: Option<String>,
    /// The authoritative servers to ask, instead of those that the zone names: `name`, `address` or
    /// `address:port`.
    #[serde(default)]
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub servers: Vec<String>,
    /// The port of the name servers that the zone names. Default 53.
    pub port: Option<RawScalar>,
    /// Resolvers to ask as well, which may keep old answers.
    #[serde(default)]
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub resolvers: Vec<String>,
    /// The name, below the zone's or whole; without a `zone` it is whole.
    #[schemars(extend("format" = "template"))]
    pub name: String,
    /// The type of the records.
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// The values that all are to answer; `[]`: that there are none.
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub values: Vec<String>,
    /// The pause between two readings. Default 5s.
    #[schemars(extend("format" = "duration"))]
    pub every: Option<String>,
    /// How many readings in a row all must agree. Default 1.
    #[schemars(range(min = 1, max = 1000))]
    pub stable: Option<u32>,
    /// The longest it may take; then the step has failed.
    #[schemars(extend("format" = "duration"))]
    pub timeout: Option<String>,
}

/// What name servers are to answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Propagation<T> {
    #[serde(default = "super::none", skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone<T>>,
    pub servers: Vec<T>,
    /// Of the servers that the zone names.
    pub port: T,
    pub resolvers: Vec<T>,
    pub name: T,
    #[serde(rename = "type")]
    pub kind: RecordKind,
    pub values: Vec<T>,
    pub every: Span,
    pub stable: u32,
}

impl Converter<'_> {
    pub fn propagation(
        &mut self,
        raw: &RawPropagation,
        below: &[&str],
    ) -> Option<Propagation<Text>> {
        if raw.zone.is_none() && raw.servers.is_empty() && raw.resolvers.is_empty() {
            let help = "name a `zone`, whose servers are asked, or `servers`, or `resolvers`";
            self.report(below, "propagation", "nobody is asked".into(), Some(help.into()));
        }
        let texts = |list: &[String]| list.iter().map(|one| text(one)).collect();
        Some(Propagation {
            zone: match &raw.zone {
                Some(name) => Some(self.zone(name, below, "propagation")?),
                None => None,
            },
            servers: texts(&raw.servers),
            port: raw.port.as_ref().map_or_else(|| text("53"), scalar_text),
            resolvers: texts(&raw.resolvers),
            name: text(&raw.name),
            kind: raw.kind,
            values: texts(&raw.values),
            every: span(raw.every.as_deref()).unwrap_or(Span::from_secs(5)),
            stable: raw.stable.unwrap_or(1),
        })
    }
}

impl Propagation<String> {
    pub fn in_words(&self) -> String {
        let Propagation { name, kind, values, servers, resolvers, stable, every, .. } = self;
        let mut asked: Vec<String> = servers.clone();
        if let (Some(zone), true) = (&self.zone, servers.is_empty()) {
            asked.push(format!("all name servers of {}", zone.name()));
        }
        asked.extend_from_slice(resolvers);
        let what = if values.is_empty() {
            "does not exist".to_owned()
        } else {
            format!("is {}", list(values))
        };
        format!(
            "wait until {} of {name} {what} at {} ({stable} in a row, every {every})",
            kind.word(),
            asked.join(", ")
        )
    }
}

/// The names of its result.
pub const RESULT: &[Named] = &[Named("answers", Behind::List)];

impl<T> Propagation<T> {
    pub fn facts(&self) -> Facts<'_, T> {
        Facts {
            only_reads: true,
            can_be_a_reading: true,
            is_idempotent: true,
            done_by: DoneBy::Program,
            inverse: Inverse::Nothing,
            takes_back: false,
            results: &[RESULT],
            lasts: Lasts::Unsaid,
            may_hang: false,
            commands: Commands::None,
            has_logs: false,
            decides: false,
            dry_run: InDryRun { by_itself: ByItself::Looks, may_do_the_same: true },
        }
    }
}

impl<T> Propagation<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Propagation<W::Text>, W::Error> {
        let Propagation { zone, servers, port, resolvers, name, kind, values, every, stable } =
            self;
        Ok(Propagation {
            zone: zone.as_ref().map(|zone| zone.try_map(walk)).transpose()?,
            name: walk.text(name)?,
            port: walk.text(port)?,
            servers: walk.texts(servers)?,
            resolvers: walk.texts(resolvers)?,
            values: walk.texts(values)?,
            kind: *kind,
            every: *every,
            stable: *stable,
        })
    }
}
