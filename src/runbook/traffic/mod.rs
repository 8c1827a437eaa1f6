//! Where traffic is divided between an old and a new side. Knows nothing of how a weight is set.

mod analysis;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::{RawScalar, Walk, scalar_text};
use super::convert::{Converter, text};
use super::problem::suggest;
use super::text::Text;
use super::zone::{RecordKind, Zone};

pub use analysis::{Analysis, Prometheus, RawAnalysis, RawMeasure, Says, Source};

/// What divides traffic between an old and a new side: exactly one of the four.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct RawTraffic {
    /// Two servers of an HAProxy backend, by its runtime API.
    pub haproxy: Option<RawHaproxy>,
    /// Two servers in a file that nginx includes in an `upstream`.
    pub nginx: Option<RawNginx>,
    /// Two weighted sets of records of the DNS.
    pub dns: Option<RawWeighted>,
    /// Anything else, by commands.
    pub run: Option<RawWeights>,
}

/// Two weighted sets of records that a name has.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawWeighted {
    /// The name of one of the `zones`, at a provider whose records have weights: Route 53.
    pub zone: String,
    /// The name, below the zone's or whole; `@` is the zone's own.
    #[schemars(extend("format" = "template"))]
    pub name: String,
    /// The type of the records.
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// The old side's set, by its identifier.
    #[schemars(extend("format" = "template"))]
    pub from: String,
    /// The new side's set, by its identifier.
    #[schemars(extend("format" = "template"))]
    pub to: String,
}

/// Two servers of an HAProxy backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawHaproxy {
    /// The runtime API's socket, of `level admin`: a path, or `host:port`.
    #[schemars(extend("format" = "template"))]
    pub socket: String,
    /// The backend.
    #[schemars(extend("format" = "template"))]
    pub backend: String,
    /// The old side's server.
    #[schemars(extend("format" = "template"))]
    pub from: String,
    /// The new side's server.
    #[schemars(extend("format" = "template"))]
    pub to: String,
}

/// Two servers in a file that nginx includes.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawNginx {
    /// The file, with one `server` of each of the two addresses.
    #[schemars(extend("format" = "template"))]
    pub file: String,
    /// The old side's address, as it stands in the file.
    #[schemars(extend("format" = "template"))]
    pub from: String,
    /// The new side's address, as it stands in the file.
    #[schemars(extend("format" = "template"))]
    pub to: String,
    /// A command that tests the configuration; if it fails, the file is put back as it was.
    #[serde(default)]
    pub test: Vec<RawScalar>,
    /// A command that makes nginx read it.
    pub reload: Vec<RawScalar>,
}

/// Commands that move traffic.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawWeights {
    /// A command that gives the new side `$SWITCHOVER_WEIGHT` percent of the traffic.
    pub set: Vec<RawScalar>,
    /// A command that prints how many percent the new side has.
    pub get: Vec<RawScalar>,
}

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

impl Converter<'_> {
    pub fn traffic(&mut self, name: &str, below: &[&str]) -> Option<Traffic<Text>> {
        let Some(raw) = self.traffic.get(name) else {
            let help = suggest(name, self.traffic.keys().map(String::as_str))
                .or_else(|| Some("declare it under `traffic`".into()));
            self.report(below, "shift", format!("there is no traffic `{name}`"), help);
            return None;
        };
        let all = |list: &[RawScalar]| list.iter().map(scalar_text).collect::<Vec<_>>();
        let (traffic, commands) = match (&raw.haproxy, &raw.nginx, &raw.dns, &raw.run) {
            (Some(raw), ..) => {
                let (from, to) = (text(&raw.from), text(&raw.to));
                (
                    Traffic::Haproxy(Haproxy {
                        socket: text(&raw.socket),
                        backend: text(&raw.backend),
                        from,
                        to,
                    }),
                    vec![],
                )
            }
            (_, Some(raw), ..) => {
                let (test, reload) = (all(&raw.test), all(&raw.reload));
                (
                    Traffic::Nginx(Nginx {
                        file: text(&raw.file),
                        from: text(&raw.from),
                        to: text(&raw.to),
                        test,
                        reload,
                    }),
                    vec![&raw.reload],
                )
            }
            (_, _, Some(raw), _) => {
                let zone = self.zone(&raw.zone, below, "shift")?;
                if !zone.has_weights() {
                    let help = Some("use `run` with commands of its own".into());
                    self.report(
                        below,
                        "shift",
                        format!("the records of the zone `{}` have no weights", raw.zone),
                        help,
                    );
                }
                let (name, from, to) = (text(&raw.name), text(&raw.from), text(&raw.to));
                (Traffic::Dns(Weighted { zone, name, kind: raw.kind, from, to }), vec![])
            }
            (.., Some(raw)) => (
                Traffic::Run(Commands { set: all(&raw.set), get: all(&raw.get) }),
                vec![&raw.set, &raw.get],
            ),
            _ => return None,
        };
        if commands.iter().any(|command| command.is_empty()) {
            let help = Some("the first item is the program".into());
            self.report(
                below,
                "shift",
                format!("a command of the traffic `{name}` is empty"),
                help,
            );
        }
        Some(traffic)
    }
}

impl<T> Traffic<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Traffic<W::Text>, W::Error> {
        Ok(match self {
            Traffic::Haproxy(Haproxy { socket, backend, from, to }) => Traffic::Haproxy(Haproxy {
                socket: walk.text(socket)?,
                backend: walk.text(backend)?,
                from: walk.text(from)?,
                to: walk.text(to)?,
            }),
            Traffic::Nginx(Nginx { file, from, to, test, reload }) => Traffic::Nginx(Nginx {
                file: walk.text(file)?,
                from: walk.text(from)?,
                to: walk.text(to)?,
                test: walk.texts(test)?,
                reload: walk.texts(reload)?,
            }),
            Traffic::Dns(Weighted { zone, name, kind, from, to }) => Traffic::Dns(Weighted {
                zone: zone.try_map(walk)?,
                name: walk.text(name)?,
                kind: *kind,
                from: walk.text(from)?,
                to: walk.text(to)?,
            }),
            Traffic::Run(Commands { set, get }) => {
                Traffic::Run(Commands { set: walk.texts(set)?, get: walk.texts(get)? })
            }
        })
    }
}
