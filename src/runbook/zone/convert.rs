//! Zones as they are written to their domain form. Reports what a schema cannot say.

use indexmap::IndexMap;

use super::{Cloudflare, Primary, Route53, Zone, ZoneFile};
use crate::runbook::Text;
use crate::runbook::action::{RawSecretUse, RawValue, Value, scalar_text};
use crate::runbook::convert::{Converter, text};
use crate::runbook::problem::suggest;

impl Converter<'_> {
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
