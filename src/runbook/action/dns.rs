//! Changes of the records in a zone. Knows nothing of how they are made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{Behind, ByItself, Commands, DoneBy, Facts, InDryRun, Inverse, Lasts, Named};
use super::walk::Walk;
use crate::runbook::convert::{Converter, span, text};
use crate::runbook::zone::{RecordKind, Zone};
use crate::runbook::{Span, Text};

/// The records of one type that a name has, or with `records` several such, changed at once: all or
/// none.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawDns {
    /// The name of one of the `zones`.
    pub zone: String,
    #[serde(flatten)]
    pub one: RawRecord,
    /// Several changes that are made at once: all of them or none.
    pub records: Option<Vec<RawListed>>,
    /// The largest share of the zone's sets of records that may be changed, in percent; beyond it,
    /// nothing is.
    #[schemars(regex(pattern = r"^(100|[1-9]?[0-9])%$"))]
    pub at_most: Option<String>,
}

/// One of several changes.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawListed {
    #[serde(flatten)]
    pub record: RawRecord,
}

/// The records of one type that a name has: exactly one of `value`, `values`, `delete` and
/// `lower_ttl`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RawRecord {
    /// The name, below the zone's or whole; `@` is the zone's own.
    #[schemars(extend("format" = "template"))]
    pub name: Option<String>,
    /// The type of the records. Records of other types are left alone.
    #[serde(rename = "type")]
    pub kind: Option<RecordKind>,
    /// Which of several weighted sets of records of this name and type is meant, by its identifier
    /// (Route 53).
    #[schemars(extend("format" = "template"))]
    pub set: Option<String>,
    /// What the one record is to say, as in a zone file; names in it are whole.
    #[schemars(extend("format" = "template"))]
    pub value: Option<String>,
    /// The same for several records.
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub values: Option<Vec<String>>,
    /// How long answers may be kept, in whole seconds. Default: as long as those that are replaced.
    #[schemars(extend("format" = "duration"))]
    pub ttl: Option<String>,
    /// The set's share of the answers, in relation to the other sets. Default: that of those that
    /// are replaced.
    #[schemars(range(min = 0, max = 255))]
    pub weight: Option<u8>,
    /// `true`: there are to be no such records.
    pub delete: Option<bool>,
    /// Keeps the values, lowers their TTL to this, and then waits as long as the TTL was that it
    /// found.
    #[schemars(extend("format" = "duration"))]
    pub lower_ttl: Option<String>,
    /// The values that must be there before; `[]`: there must be none.
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub expect: Option<Vec<String>>,
}

/// Changes of records that are made at once: all of them or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dns<T> {
    pub zone: Zone<T>,
    pub records: Vec<Record<T>>,
    /// The largest share of the zone's sets of records that may be changed, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u8>,
    /// Whether it puts back what the step found instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restores: bool,
}

/// A change of the records of one type that a name has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record<T> {
    pub name: T,
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// Which of several weighted sets is meant.
    #[serde(default = "super::none", skip_serializing_if = "Option::is_none")]
    pub set: Option<T>,
    pub change: Change<T>,
    /// What must be there before.
    #[serde(default = "super::none", skip_serializing_if = "Option::is_none")]
    pub expect: Option<Vec<T>>,
}

/// What becomes of the records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change<T> {
    /// Exactly these; without a TTL or weight that of those before.
    Set {
        values: Vec<T>,
        ttl: Option<Span>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<u8>,
    },
    Delete,
    /// The same with this TTL, if it was longer; then as much time passes as they had.
    LowerTtl(Span),
}

impl Converter<'_> {
    pub fn dns(&mut self, raw: &RawDns, below: &[&str]) -> Option<Dns<Text>> {
        let is_one = raw.one.name.is_some() || raw.one.kind.is_some();
        let zone = self.zone(&raw.zone, below, "dns")?;
        let records = match (&raw.records, is_one) {
            (None, _) => vec![self.record(&raw.one, &zone, below)?],
            (Some(records), false) if !records.is_empty() => records
                .iter()
                .map(|listed| self.record(&listed.record, &zone, below))
                .collect::<Option<_>>()?,
            _ => {
                let help = "each of `records` has its own name, type and values";
                self.report(
                    below,
                    "dns",
                    "either a name and a type, or records belong here".into(),
                    Some(help.into()),
                );
                return None;
            }
        };
        let at_most =
            raw.at_most.as_ref().and_then(|share| share.trim_end_matches('%').parse().ok());
        Some(Dns { zone, records, at_most, restores: false })
    }

    fn record(
        &mut self,
        raw: &RawRecord,
        zone: &Zone<Text>,
        below: &[&str],
    ) -> Option<Record<Text>> {
        let (Some(name), Some(kind)) = (&raw.name, raw.kind) else {
            self.report(
                below,
                "dns",
                "a name and a type belong here".into(),
                Some("or several of both, as `records`".into()),
            );
            return None;
        };
        let set =
            |values| Change::Set { values, ttl: span(raw.ttl.as_deref()), weight: raw.weight };
        let change = match (&raw.value, &raw.values, raw.delete.unwrap_or_default(), &raw.lower_ttl)
        {
            (Some(value), None, false, None) => set(vec![text(value)]),
            (None, Some(values), false, None) if !values.is_empty() => {
                set(values.iter().map(|value| text(value)).collect())
            }
            (None, None, true, None) => Change::Delete,
            (None, None, false, Some(ttl)) => Change::LowerTtl(span(Some(ttl))?),
            _ => {
                let help = "`values` are not empty; to have none, say `delete: true`";
                self.report(
                    below,
                    "dns",
                    "exactly one of value, values, delete and lower_ttl belongs here".into(),
                    Some(help.into()),
                );
                return None;
            }
        };
        if raw.ttl.is_some() && !matches!(change, Change::Set { .. }) {
            self.report(below, "dns", "a ttl belongs to values".into(), None);
        }
        if raw.weight.is_some() && (raw.set.is_none() || !matches!(change, Change::Set { .. })) {
            self.report(
                below,
                "dns",
                "a weight belongs to the values of a set".into(),
                Some("name the set with `set`".into()),
            );
        }
        if raw.set.is_some() && !zone.has_weights() {
            self.report(below, "dns", "only zones at Route 53 have weighted sets".into(), None);
        }
        if let Change::Set { ttl: Some(ttl), .. } | Change::LowerTtl(ttl) = &change
            && (!ttl.as_millis().is_multiple_of(1000) || ttl.as_millis() / 1000 > i32::MAX as u64)
        {
            self.report(
                below,
                "dns",
                format!("a TTL is a number of whole seconds, 68 years at most, and not {ttl}"),
                None,
            );
        }
        Some(Record {
            name: text(name),
            kind,
            set: raw.set.as_deref().map(text),
            change,
            expect: raw
                .expect
                .as_ref()
                .map(|values| values.iter().map(|value| text(value)).collect()),
        })
    }
}

impl<T: Clone> Dns<T> {
    /// What puts back what the step found.
    pub fn inverse(&self) -> Dns<T> {
        let records =
            self.records.iter().map(|record| Record { expect: None, ..record.clone() }).collect();
        Dns { restores: true, at_most: None, records, ..self.clone() }
    }
}

impl Dns<String> {
    pub fn in_words(&self) -> String {
        let zone = self.zone.in_words();
        let limit = self
            .at_most
            .map(|share| format!(", if that is at most {share} % of the zone"))
            .unwrap_or_default();
        let words = match self.records.as_slice() {
            [record] => record.in_words(&format!(" in {zone}"), self.restores),
            several => {
                let each: Vec<String> =
                    several.iter().map(|record| record.in_words("", self.restores)).collect();
                format!("in {zone}, all at once: {}", each.join("; "))
            }
        };
        format!("{words}{limit}")
    }
}

impl Record<String> {
    fn in_words(&self, place: &str, restores: bool) -> String {
        let Record { name, kind, .. } = self;
        let set = self.set.as_ref().map(|set| format!(" ({set})")).unwrap_or_default();
        let which = format!("{} of {name}{set}{place}", kind.word());
        if restores {
            return format!(
                "put {which} back as it was found, if it still is as the step wrote it"
            );
        }
        match &self.change {
            Change::Set { values, ttl, weight } => {
                let ttl = ttl.map(|ttl| format!(" with a TTL of {ttl}")).unwrap_or_default();
                let weight =
                    weight.map(|weight| format!(" with the weight {weight}")).unwrap_or_default();
                format!("set {which} to {}{ttl}{weight}", list(values))
            }
            Change::Delete => format!("delete {which}"),
            Change::LowerTtl(ttl) => {
                format!("lower the TTL of {which} to {ttl}, and wait as long as it was")
            }
        }
    }
}

pub fn list(values: &[String]) -> String {
    values.join(", ")
}

/// The names of its result.
pub const RESULT: &[Named] = &[
    Named("was", Behind::Anything),
    Named("is", Behind::Anything),
    Named("changed", Behind::Anything),
];

impl<T> Dns<T> {
    pub fn facts(&self) -> Facts<'_, T> {
        let has_a_command = matches!(&self.zone, Zone::File(file) if !file.reload.is_empty());
        Facts {
            only_reads: false,
            can_be_a_reading: false,
            is_idempotent: true,
            done_by: DoneBy::Program,
            inverse: Inverse::BuiltIn,
            takes_back: self.restores,
            results: &[RESULT],
            lasts: Lasts::Unsaid,
            may_hang: false,
            commands: if has_a_command { Commands::OnTheWay } else { Commands::None },
            has_logs: false,
            decides: false,
            dry_run: InDryRun { by_itself: ByItself::Looks, may_do_the_same: false },
        }
    }
}

impl<T> Dns<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(&'a self, walk: &mut W) -> Result<Dns<W::Text>, W::Error> {
        let Dns { zone, records, at_most, restores } = self;
        Ok(Dns {
            zone: zone.try_map(walk)?,
            records: records.iter().map(|record| record.try_map(walk)).collect::<Result<_, _>>()?,
            at_most: *at_most,
            restores: *restores,
        })
    }
}

impl<T> Record<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Record<W::Text>, W::Error> {
        let Record { name, kind, set, change, expect } = self;
        Ok(Record {
            name: walk.text(name)?,
            kind: *kind,
            set: walk.optional(set)?,
            change: match change {
                Change::Set { values, ttl, weight } => {
                    Change::Set { values: walk.texts(values)?, ttl: *ttl, weight: *weight }
                }
                Change::Delete => Change::Delete,
                Change::LowerTtl(ttl) => Change::LowerTtl(*ttl),
            },
            expect: walk.optional_texts(expect)?,
        })
    }
}
