//! One step's changes of a zone: what is there is told before it is changed, and what the step's
//! first attempt found is what the others go by. Knows nothing of how a zone is read or written.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::record::{Edit, Key, Records, normal, same_values};
use super::{Provider, Unwritten, When, open};
use crate::effect::{EffectError, Job, Keeper, Reading, Stopper, Teller, Used};
use crate::runbook::Span;
use crate::runbook::action::{Change, Dns, Record};

/// The cursor of an attempt whose change does not count everywhere yet, before the name of the
/// change.
const PENDING: &str = "pending ";

/// What the first attempt found, as it is journaled.
#[derive(Serialize, Deserialize)]
struct Seen {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set: Option<String>,
    was: Option<Records>,
}

pub fn perform(
    job: &Job,
    dns: &Dns<String>,
    keeper: &Keeper,
    stopper: &Stopper,
    teller: &Teller,
    used: &mut Used,
) -> Result<Reading, EffectError> {
    let place = dns.zone.in_words();
    let keys = keys(dns)?;
    let seen = seen(job, &keys)?;
    if dns.restores && seen.is_none() {
        return Ok(Reading {
            is_good: true,
            summary: "nothing was changed, so nothing is put back".to_owned(),
            ..Reading::default()
        });
    }
    let mut provider = open(job, &dns.zone, keeper, used)?;
    let found = keys.iter().map(|key| provider.read(key)).collect::<Result<Vec<_>, _>>()?;
    let is_first = seen.is_none();
    let was = match seen {
        Some(seen) => seen,
        None => {
            for ((record, key), found) in dns.records.iter().zip(&keys).zip(&found) {
                expected(record, key, &place, found.as_ref())?;
            }
            found.clone()
        }
    };
    let mut edits = Vec::new();
    for ((record, key), was) in dns.records.iter().zip(keys).zip(was) {
        let becomes = wanted(record, &key, &place, was.as_ref())?;
        edits.push(Edit { key, was, becomes });
    }
    if is_first {
        if let Some(share) = dns.at_most {
            is_within(share, &edits, &place, &mut *provider)?;
        }
        if job.only_looks {
            return Ok(would(&edits, &place));
        }
        let seen: Vec<Seen> = edits.iter().map(Seen::of).collect();
        teller.saw(
            serde_json::to_value(seen).map_err(|error| EffectError::before(error.to_string()))?,
        )?;
    }
    // The old TTLs, of what is to have a lower one.
    let run_out = edits
        .iter()
        .zip(&dns.records)
        .filter(|(edit, record)| matches!(record.change, Change::LowerTtl(_)) && !edit.is_idle());
    let run_out = run_out.filter_map(|(edit, _)| Some(edit.was.as_ref()?.ttl)).max();
    if dns.restores {
        edits.iter_mut().for_each(|edit| std::mem::swap(&mut edit.was, &mut edit.becomes));
    }
    let changed = if edits.iter().zip(&found).all(|(edit, found)| edit.is_done(found)) {
        if !is_first {
            // What an undo has changed is in no cursor that it is given.
            let earlier = job
                .reached
                .as_deref()
                .filter(|_| !dns.restores)
                .and_then(|cursor| cursor.strip_prefix(PENDING));
            provider.settle(earlier, stopper, teller)?;
        }
        false
    } else {
        if let Some((edit, found)) =
            edits.iter().zip(&found).find(|(edit, found)| !edit.is_as_it_was(found))
        {
            let what = if dns.restores { "this step wrote" } else { "this step found at first" };
            return Err(differs(&edit.key, &place, what, edit.was.as_ref(), found.as_ref()));
        }
        if stopper.is_stopped() {
            return Err(EffectError::before("it was stopped, and nothing was changed"));
        }
        write(&mut *provider, &edits, &place, stopper, teller)?;
        true
    };
    let words: Vec<String> = edits
        .iter()
        .map(|edit| format!("{} is {}", edit.key, Records::in_words(edit.becomes.as_ref())))
        .collect();
    if let (Some(ttl), false) = (run_out, dns.restores) {
        let all: Vec<String> = edits.iter().map(|edit| edit.key.to_string()).collect();
        wait_out(job, ttl, changed, &all.join(", "), stopper, teller)?;
    }
    let again = match (changed, dns.restores) {
        (true, _) => "",
        (false, false) => " already",
        (false, true) => " again",
    };
    let mut names = Map::new();
    let all = |which: fn(&Edit) -> &Option<Records>| {
        let mut all: Vec<Json> = edits
            .iter()
            .map(|edit| serde_json::to_value(which(edit)).unwrap_or(Json::Null))
            .collect();
        if all.len() == 1 { all.swap_remove(0) } else { Json::Array(all) }
    };
    names.insert("was".into(), all(|edit| &edit.was));
    names.insert("is".into(), all(|edit| &edit.becomes));
    names.insert("changed".into(), changed.into());
    Ok(Reading {
        names,
        summary: format!("{}{again}", words.join("; ")),
        is_good: true,
        ..Reading::default()
    })
}

/// What would be changed, as a difference.
fn would(edits: &[Edit], place: &str) -> Reading {
    let one = |edit: &Edit| {
        let (was, becomes) =
            (Records::in_words(edit.was.as_ref()), Records::in_words(edit.becomes.as_ref()));
        if edit.is_idle() {
            format!("  {}: {becomes} already", edit.key)
        } else {
            format!("- {}: {was}\n+ {}: {becomes}", edit.key, edit.key)
        }
    };
    let all: Vec<String> = edits.iter().map(one).collect();
    Reading {
        summary: format!("change in {place}\n{}", all.join("\n")),
        is_good: true,
        ..Reading::default()
    }
}

impl Edit {
    fn is_idle(&self) -> bool {
        self.is_done(&self.was)
    }

    fn is_done(&self, found: &Option<Records>) -> bool {
        Records::same(self.key.kind, found.as_ref(), self.becomes.as_ref())
    }

    fn is_as_it_was(&self, found: &Option<Records>) -> bool {
        Records::same(self.key.kind, found.as_ref(), self.was.as_ref())
    }
}

impl Seen {
    fn of(edit: &Edit) -> Seen {
        let Key { name, kind, set, .. } = &edit.key;
        Seen {
            name: name.to_ascii(),
            kind: kind.word().to_owned(),
            set: set.clone(),
            was: edit.was.clone(),
        }
    }
}

fn keys(dns: &Dns<String>) -> Result<Vec<Key>, EffectError> {
    let mut keys: Vec<Key> = Vec::new();
    for record in &dns.records {
        let key =
            Key::new(dns.zone.name(), &record.name, record.kind).map_err(EffectError::before)?;
        let key = Key { set: record.set.clone(), ..key };
        if keys.contains(&key) {
            return Err(EffectError::before(format!(
                "{key} is to be changed twice at once; nothing was changed"
            )));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Changes all that is to change, and reads it back.
fn write(
    provider: &mut dyn Provider,
    edits: &[Edit],
    place: &str,
    stopper: &Stopper,
    teller: &Teller,
) -> Result<(), EffectError> {
    let edits: Vec<Edit> = edits.iter().filter(|edit| !edit.is_idle()).cloned().collect();
    match provider.write(&edits) {
        Ok(()) => {}
        Err(Unwritten::Changed(changed)) => {
            return Err(differs(
                &changed.key,
                place,
                "was read a moment ago",
                changed.was.as_ref(),
                changed.found.as_ref(),
            ));
        }
        // The answer may be lost, but not what it would have said.
        Err(Unwritten::Failed(error))
            if error.when != When::Before && is_done(provider, &edits) => {}
        Err(Unwritten::Failed(error)) => return Err(error),
    }
    if let Some(pending) = provider.pending() {
        teller.cursor(format!("{PENDING}{pending}"));
    }
    provider.settle(None, stopper, teller)?;
    for edit in &edits {
        let now = provider.read(&edit.key).map_err(|error| EffectError::lost(error.message))?;
        if !edit.is_done(&now) {
            let (now, to) =
                (Records::in_words(now.as_ref()), Records::in_words(edit.becomes.as_ref()));
            return Err(EffectError::during(format!(
                "{} in {place} was changed to {to}, and then it is {now}",
                edit.key
            )));
        }
    }
    Ok(())
}

fn is_done(provider: &mut dyn Provider, edits: &[Edit]) -> bool {
    edits.iter().all(|edit| provider.read(&edit.key).is_ok_and(|now| edit.is_done(&now)))
}

/// Whether no more than a share of the zone changes.
fn is_within(
    percent: u8,
    edits: &[Edit],
    place: &str,
    provider: &mut dyn Provider,
) -> Result<(), EffectError> {
    let count = edits.iter().filter(|edit| !edit.is_idle()).count();
    let (Some(first), true) = (edits.first(), count > 0) else { return Ok(()) };
    let size = provider.size(&first.key)?;
    if count * 100 <= size * usize::from(percent) {
        return Ok(());
    }
    Err(EffectError::before(format!(
        "{count} of the {size} sets of records in {place} would be changed, which is more \
         than {percent} %\nnothing was changed; if it is meant so, raise `at_most`"
    )))
}

/// What the step's first attempt found.
fn seen(job: &Job, keys: &[Key]) -> Result<Option<Vec<Option<Records>>>, EffectError> {
    let Some(json) = &job.seen else { return Ok(None) };
    let seen: Vec<Seen> = serde_json::from_value(json.clone()).map_err(|error| {
        EffectError::before(format!("what the first attempt found cannot be read: {error}"))
    })?;
    let is_of = |(seen, key): (&Seen, &Key)| {
        seen.name == key.name.to_ascii() && seen.kind == key.kind.word() && seen.set == key.set
    };
    if seen.len() != keys.len() || !seen.iter().zip(keys).all(is_of) {
        let found: Vec<String> =
            seen.iter().map(|seen| format!("{} {}", seen.name, seen.kind)).collect();
        let now: Vec<String> = keys.iter().map(Key::to_string).collect();
        return Err(EffectError::before(format!(
            "the first attempt found {}, and this one is about {}; nothing was changed",
            found.join(", "),
            now.join(", ")
        )));
    }
    Ok(Some(seen.into_iter().map(|seen| seen.was).collect()))
}

/// What must be there before.
fn expected(
    record: &Record<String>,
    key: &Key,
    place: &str,
    found: Option<&Records>,
) -> Result<(), EffectError> {
    let Some(values) = &record.expect else { return Ok(()) };
    let wanted = normal(key.kind, values).map_err(EffectError::before)?;
    if same_values(
        key.kind,
        &wanted,
        found.map(|found| found.values.as_slice()).unwrap_or_default(),
    ) {
        return Ok(());
    }
    let expected = if wanted.is_empty() { "nothing".to_owned() } else { wanted.join(", ") };
    Err(unlike(key, place, "was expected", &expected, found))
}

/// What the step makes of what it found.
fn wanted(
    record: &Record<String>,
    key: &Key,
    place: &str,
    was: Option<&Records>,
) -> Result<Option<Records>, EffectError> {
    let seconds = |ttl: &Span| u32::try_from(ttl.as_millis() / 1000).unwrap_or(u32::MAX);
    let unsaid = |what: &str| {
        EffectError::before(format!(
            "{key} is not in {place} yet, so its `{what}` must be said; nothing was changed"
        ))
    };
    Ok(match (&record.change, was) {
        (Change::Delete, _) => None,
        (Change::Set { values, ttl, weight }, _) => {
            let ttl = ttl
                .as_ref()
                .map(seconds)
                .or(was.map(|was| was.ttl))
                .ok_or_else(|| unsaid("ttl"))?;
            let weight = weight.or(was.and_then(|was| was.weight));
            if key.set.is_some() && weight.is_none() {
                return Err(unsaid("weight"));
            }
            let values = normal(key.kind, values).map_err(EffectError::before)?;
            Some(Records { ttl, values, weight, ..was.cloned().unwrap_or_default() })
        }
        (Change::LowerTtl(_), None) => {
            return Err(EffectError::before(format!(
                "{key} is not in {place}, so it has no TTL to lower; nothing was changed"
            )));
        }
        (Change::LowerTtl(ttl), Some(was)) => {
            Some(Records { ttl: was.ttl.min(seconds(ttl)), ..was.clone() })
        }
    })
}

fn differs(
    key: &Key,
    place: &str,
    what: &str,
    expected: Option<&Records>,
    found: Option<&Records>,
) -> EffectError {
    unlike(key, place, what, &Records::in_words(expected), found)
}

fn unlike(
    key: &Key,
    place: &str,
    what: &str,
    expected: &str,
    found: Option<&Records>,
) -> EffectError {
    let found = Records::in_words(found);
    EffectError::before(format!(
        "the record {key} in {place} is not what {what}\nexpected: {expected}\nfound: {found}\
         \nnothing was changed; look who changed it, and resume"
    ))
}

/// Waits until no resolver can have an old answer any more; an attempt that was killed meanwhile
/// does not begin again.
fn wait_out(
    job: &Job,
    ttl: u32,
    changed: bool,
    what: &str,
    stopper: &Stopper,
    teller: &Teller,
) -> Result<(), EffectError> {
    const WORD: &str = "lowered at ";
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let told =
        job.reached.as_deref().and_then(|cursor| cursor.strip_prefix(WORD)?.parse::<u64>().ok());
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
        teller.progress(format!(
            "{what}: answers with the old TTL may be kept for {} more",
            Span::from_secs(left)
        ));
        let step = left.min(5);
        if stopper.sleep(Duration::from_secs(step)) {
            let left = Span::from_secs(left);
            return Err(EffectError::during(format!(
                "it was stopped; the TTL of {what} is lowered, but the old one runs for {left} more"
            )));
        }
        left -= step;
    }
    Ok(())
}
