//! The DNS: records are read, told, and changed only if they still are what was read; what was there is put back exactly. A
//! provider that joins reads and writes the records of one name and type.

mod cloudflare;
mod propagation;
mod record;
mod rfc2136;
mod wire;
mod zone_file;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::secret::mask;
use super::{EffectError, Job, Reading, Stopper, Teller, Used, When, resolve};
use crate::runbook::Span;
use crate::runbook::zone::{Change, Dns, Propagation, Zone};
use record::{Key, Records, normal, same_values};

/// Where a zone is kept.
trait Provider {
    /// The records that are there now: nothing only if there certainly are none.
    fn read(&mut self, key: &Key) -> Result<Option<Records>, EffectError>;

    /// Changes them if they are what was read last, and `was` still is that.
    fn write(&mut self, key: &Key, was: Option<&Records>, becomes: Option<&Records>) -> Result<(), Unwritten>;

    /// Has what is written count; may be repeated.
    fn settle(&mut self, _stopper: &Stopper) -> Result<(), EffectError> {
        Ok(())
    }

    /// The names of the zone's authoritative servers.
    fn name_servers(&mut self, key: &Key) -> Result<Vec<String>, EffectError> {
        Ok(self.read(key)?.map(|records| records.values).unwrap_or_default())
    }
}

/// Why something was not written.
enum Unwritten {
    /// It is not what it was any more.
    Changed(Option<Records>),
    Failed(EffectError),
}

impl From<EffectError> for Unwritten {
    fn from(error: EffectError) -> Unwritten {
        Unwritten::Failed(error)
    }
}

/// What the first attempt found, as it is journaled.
#[derive(Serialize, Deserialize)]
struct Seen {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    was: Option<Records>,
}

pub fn perform(job: &Job, dns: &Dns<String>, stopper: &Stopper, teller: &Teller) -> Result<Reading, EffectError> {
    let mut used = Used::new();
    let result = change(job, dns, stopper, teller, &mut used);
    mask(result, &used, job.mac_key)
}

/// Waits until all name servers agree.
pub fn watch(job: &Job, propagation: &Propagation<String>, stopper: &Stopper, teller: &Teller) -> Result<Reading, EffectError> {
    let mut used = Used::new();
    let result = propagation::perform(job, propagation, stopper, teller, &mut used);
    mask(result, &used, job.mac_key)
}

fn open(job: &Job, zone: &Zone<String>, used: &mut Used) -> Result<Box<dyn Provider>, EffectError> {
    Ok(match zone {
        Zone::Rfc2136(primary) => Box::new(rfc2136::open(primary, &resolve(job, &primary.secret, used)?)?),
        Zone::File(file) => Box::new(zone_file::open(job, file)),
        Zone::Cloudflare(cloudflare) => Box::new(cloudflare::open(cloudflare, resolve(job, &cloudflare.token, used)?)),
    })
}

fn change(job: &Job, dns: &Dns<String>, stopper: &Stopper, teller: &Teller, used: &mut Used) -> Result<Reading, EffectError> {
    let place = dns.zone.in_words();
    let key = Key::new(dns.zone.name(), &dns.name, dns.kind).map_err(EffectError::before)?;
    let seen = seen(job, &key)?;
    if dns.restores && seen.is_none() {
        return Ok(Reading { is_good: true, summary: "nothing was changed, so nothing is put back".to_owned(), ..Reading::default() });
    }
    let mut provider = open(job, &dns.zone, used)?;
    let found = provider.read(&key)?;
    let is_first = seen.is_none();
    let was = match seen {
        Some(seen) => seen.was,
        None => {
            if let Some(values) = &dns.expect {
                let wanted = normal(dns.kind, values).map_err(EffectError::before)?;
                if !same_values(dns.kind, &wanted, found.as_ref().map(|found| found.values.as_slice()).unwrap_or_default()) {
                    let expected = if wanted.is_empty() { "nothing".to_owned() } else { wanted.join(", ") };
                    return Err(differs(&key, &place, "was expected", &expected, found.as_ref()));
                }
            }
            found.clone()
        }
    };
    let wanted = wanted(dns, &key, &place, was.as_ref())?;
    if is_first {
        let seen = Seen { name: key.name.to_ascii(), kind: key.kind.word().to_owned(), was: was.clone() };
        teller.saw(serde_json::to_value(seen).map_err(|error| EffectError::before(error.to_string()))?)?;
    }
    let (from, to) = if dns.restores { (&wanted, &was) } else { (&was, &wanted) };
    let same = |one: &Option<Records>, other: &Option<Records>| Records::same(key.kind, one.as_ref(), other.as_ref());
    let changed = if same(&found, to) {
        if !is_first {
            provider.settle(stopper)?;
        }
        false
    } else if same(&found, from) {
        if stopper.is_stopped() {
            return Err(EffectError::before("it was stopped, and nothing was changed"));
        }
        match provider.write(&key, from.as_ref(), to.as_ref()) {
            Ok(()) => {}
            Err(Unwritten::Changed(found)) => {
                return Err(differs(&key, &place, "was read a moment ago", &Records::in_words(from.as_ref()), found.as_ref()));
            }
            // The answer may be lost, but not what it would have said.
            Err(Unwritten::Failed(error)) if error.when != When::Before && provider.read(&key).is_ok_and(|now| same(&now, to)) => {}
            Err(Unwritten::Failed(error)) => return Err(error),
        }
        provider.settle(stopper)?;
        let now = provider.read(&key).map_err(|error| EffectError::lost(error.message))?;
        if !same(&now, to) {
            let (now, to) = (Records::in_words(now.as_ref()), Records::in_words(to.as_ref()));
            return Err(EffectError::during(format!("{key} in {place} was changed to {to}, and then it is {now}")));
        }
        true
    } else {
        let what = if dns.restores { "this step wrote" } else { "this step found at first" };
        return Err(differs(&key, &place, what, &Records::in_words(from.as_ref()), found.as_ref()));
    };
    if let (Change::LowerTtl(_), Some(was), false) = (&dns.change, &was, dns.restores)
        && !same(&wanted, &Some(was.clone()))
    {
        run_out(job, was.ttl, changed, &key, stopper, teller)?;
    }
    let summary = match (changed, dns.restores) {
        (true, _) => format!("{key} is {}", Records::in_words(to.as_ref())),
        (false, false) => format!("{key} is {} already", Records::in_words(to.as_ref())),
        (false, true) => format!("{key} is {} again", Records::in_words(to.as_ref())),
    };
    let mut names = Map::new();
    let json = |records: &Option<Records>| serde_json::to_value(records).unwrap_or(Json::Null);
    names.insert("was".into(), json(from));
    names.insert("is".into(), json(to));
    names.insert("changed".into(), changed.into());
    Ok(Reading { names, summary, is_good: true, ..Reading::default() })
}

/// What the step's first attempt found.
fn seen(job: &Job, key: &Key) -> Result<Option<Seen>, EffectError> {
    let Some(json) = &job.seen else { return Ok(None) };
    let seen: Seen = serde_json::from_value(json.clone())
        .map_err(|error| EffectError::before(format!("what the first attempt found cannot be read: {error}")))?;
    if seen.name != key.name.to_ascii() || seen.kind != key.kind.word() {
        let Seen { name, kind, .. } = seen;
        return Err(EffectError::before(format!(
            "the first attempt found {name} {kind}, and this one is about {key}; nothing was changed"
        )));
    }
    Ok(Some(seen))
}

/// What the step makes of what it found.
fn wanted(dns: &Dns<String>, key: &Key, place: &str, was: Option<&Records>) -> Result<Option<Records>, EffectError> {
    let seconds = |ttl: &Span| u32::try_from(ttl.as_millis() / 1000).unwrap_or(u32::MAX);
    Ok(match (&dns.change, was) {
        (Change::Delete, _) => None,
        (Change::Set { values, ttl }, _) => {
            let ttl = ttl.as_ref().map(seconds).or(was.map(|was| was.ttl));
            let missing = || EffectError::before(format!("{key} is not in {place} yet, so its `ttl` must be said; nothing was changed"));
            let values = normal(dns.kind, values).map_err(EffectError::before)?;
            Some(Records { ttl: ttl.ok_or_else(missing)?, values, proxied: was.and_then(|was| was.proxied) })
        }
        (Change::LowerTtl(_), None) => {
            return Err(EffectError::before(format!("{key} is not in {place}, so it has no TTL to lower; nothing was changed")));
        }
        (Change::LowerTtl(ttl), Some(was)) => Some(Records { ttl: was.ttl.min(seconds(ttl)), ..was.clone() }),
    })
}

fn differs(key: &Key, place: &str, what: &str, expected: &str, found: Option<&Records>) -> EffectError {
    let found = Records::in_words(found);
    EffectError::before(format!(
        "the record {key} in {place} is not what {what}\nexpected: {expected}\nfound: {found}\nnothing was changed; look who changed it, and resume"
    ))
}

/// Waits until no resolver can have the old answer any more; an attempt that was killed meanwhile does not begin again.
fn run_out(job: &Job, ttl: u32, changed: bool, key: &Key, stopper: &Stopper, teller: &Teller) -> Result<(), EffectError> {
    const WORD: &str = "lowered at ";
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let told = job.reached.as_deref().and_then(|cursor| cursor.strip_prefix(WORD)?.parse::<u64>().ok());
    let since = match told {
        Some(since) if !changed && since <= now => since,
        _ => {
            teller.cursor(format!("{WORD}{now}"));
            now
        }
    };
    // A second more, as the server counts in whole ones.
    let mut left = (since + u64::from(ttl) + 1).saturating_sub(now);
    while left > 0 {
        teller.progress(format!("{key}: answers with the old TTL may be kept for {} more", Span::from_secs(left)));
        let step = left.min(5);
        if stopper.sleep(Duration::from_secs(step)) {
            let left = Span::from_secs(left);
            return Err(EffectError::during(format!("it was stopped; the TTL of {key} is lowered, but the old one runs for {left} more")));
        }
        left -= step;
    }
    Ok(())
}
