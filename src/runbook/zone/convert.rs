//! Zones and records as they are written to their domain form. Reports what a schema cannot say.

use indexmap::IndexMap;

use super::raw::{RawDns, RawPropagation, RawRecord};
use super::{Change, Cloudflare, Dns, Primary, Propagation, Record, Route53, Zone, ZoneFile};
use crate::runbook::action::Value;
use crate::runbook::convert::{Converter, scalar_text, span, text};
use crate::runbook::problem::suggest;
use crate::runbook::raw::{RawSecretUse, RawValue};
use crate::runbook::{Span, Text};

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

    /// One of the runbook's zones by its name.
    pub fn zone(&mut self, name: &str, below: &[&str], key: &str) -> Option<Zone<Text>> {
        let Some(raw) = self.zones.get(name) else {
            let help = suggest(name, self.zones.keys().map(String::as_str))
                .or_else(|| Some("declare it under `zones`".into()));
            self.report(below, key, format!("there is no zone `{name}`"), help);
            return None;
        };
        let mut secret = |used: &RawSecretUse| self.secret(used, below, key);
        Some(match (&raw.rfc2136, &raw.file, &raw.cloudflare, &raw.route53) {
            (Some(raw), ..) => Zone::Rfc2136(Primary {
                server: text(&raw.server),
                port: raw.port.as_ref().map_or_else(|| text("53"), scalar_text),
                zone: text(&raw.zone),
                key_name: text(&raw.key.name),
                algorithm: raw.key.algorithm,
                secret: secret(&raw.key.secret)?,
            }),
            (_, Some(raw), ..) => Zone::File(ZoneFile {
                path: text(&raw.path),
                zone: text(&raw.zone),
                reload: raw.reload.iter().map(|argument| text(argument)).collect(),
            }),
            (_, _, Some(raw), _) => Zone::Cloudflare(Cloudflare {
                zone: text(&raw.zone),
                token: secret(&raw.token)?,
                endpoint: text(
                    raw.endpoint.as_deref().unwrap_or("https://api.cloudflare.com/client/v4"),
                ),
            }),
            (.., Some(raw)) => Zone::Route53(Route53 {
                zone: text(&raw.zone),
                id: raw.id.as_deref().map(text),
                access_key: secret(&raw.access_key)?,
                secret_key: secret(&raw.secret_key)?,
                session_token: match &raw.session_token {
                    Some(token) => Some(secret(token)?),
                    None => None,
                },
                endpoint: raw.endpoint.as_deref().map(text),
            }),
            _ => return None,
        })
    }

    fn secret(&mut self, used: &RawSecretUse, below: &[&str], key: &str) -> Option<Value<Text>> {
        let used = IndexMap::from([("secret".to_owned(), RawValue::Secret(used.clone()))]);
        self.values(&used, below, key).shift_remove("secret")
    }
}
