//! The DNS: records are read, told, and changed only if they still are what was read; what was
//! there is put back exactly. A provider that joins reads sets of records, and changes several of
//! them at once.

mod change;
mod cloudflare;
mod propagation;
mod record;
mod rfc2136;
mod route53;
mod wire;
mod zone_file;

use super::{EffectError, Job, Keeper, Reading, Stopper, Teller, Used, When, resolve};
use crate::runbook::action::{Dns, Propagation};
use crate::runbook::zone::Zone;

pub use record::{Edit, Key, Records};

/// Where a zone is kept.
pub trait Provider {
    /// The records that are there now: nothing only if there certainly are none.
    fn read(&mut self, key: &Key) -> Result<Option<Records>, EffectError>;

    /// Makes all changes or none, and only if each record is what was read last, and `was` still is
    /// that.
    fn write(&mut self, edits: &[Edit]) -> Result<(), Unwritten>;

    /// How many sets of records, each of one name and type, the zone has.
    fn size(&mut self, key: &Key) -> Result<usize, EffectError>;

    /// What is written and does not count everywhere yet, by its name there.
    fn pending(&self) -> Option<&str> {
        None
    }

    /// Has what is written count, by this attempt or by an `earlier` one, which left what was
    /// pending then; may be repeated.
    fn settle(
        &mut self,
        _earlier: Option<&str>,
        _stopper: &Stopper,
        _teller: &Teller,
    ) -> Result<(), EffectError> {
        Ok(())
    }

    /// The names of the zone's authoritative servers.
    fn name_servers(&mut self, key: &Key) -> Result<Vec<String>, EffectError> {
        Ok(self.read(key)?.map(|records| records.values).unwrap_or_default())
    }
}

/// Why nothing was written.
pub enum Unwritten {
    Changed(Box<Changed>),
    Failed(EffectError),
}

/// A record that is not what it was any more.
pub struct Changed {
    pub key: Key,
    pub was: Option<Records>,
    pub found: Option<Records>,
}

impl From<EffectError> for Unwritten {
    fn from(error: EffectError) -> Unwritten {
        Unwritten::Failed(error)
    }
}

pub fn perform(
    job: &Job,
    dns: &Dns<String>,
    keeper: &Keeper,
    stopper: &Stopper,
    teller: &Teller,
) -> Result<Reading, EffectError> {
    let mut used = Used::new();
    let result = change::perform(job, dns, keeper, stopper, teller, &mut used);
    job.vault.mask_result(result, &used)
}

/// Waits until all name servers agree.
pub fn watch(
    job: &Job,
    propagation: &Propagation<String>,
    keeper: &Keeper,
    stopper: &Stopper,
    teller: &Teller,
) -> Result<Reading, EffectError> {
    let mut used = Used::new();
    let result = propagation::perform(job, propagation, keeper, stopper, teller, &mut used);
    job.vault.mask_result(result, &used)
}

pub fn open<'a>(
    job: &'a Job,
    zone: &'a Zone<String>,
    keeper: &'a Keeper,
    used: &mut Used,
) -> Result<Box<dyn Provider + 'a>, EffectError> {
    Ok(match zone {
        Zone::Rfc2136(primary) => {
            Box::new(rfc2136::open(primary, &resolve(job, &primary.secret, used)?)?)
        }
        Zone::File(file) => Box::new(zone_file::OnDisk { file, job, keeper }),
        Zone::Cloudflare(cloudflare) => {
            Box::new(cloudflare::open(cloudflare, resolve(job, &cloudflare.token, used)?))
        }
        Zone::Route53(route53) => {
            let credentials = route53::Credentials {
                access_key: resolve(job, &route53.access_key, used)?,
                secret_key: resolve(job, &route53.secret_key, used)?,
                session_token: route53
                    .session_token
                    .as_ref()
                    .map(|token| resolve(job, token, used))
                    .transpose()?,
            };
            Box::new(route53::open(route53, credentials)?)
        }
    })
}

/// Everything is as `was` says, or the first record that is not.
fn unchanged(provider: &mut dyn Provider, edits: &[Edit]) -> Result<(), Unwritten> {
    for Edit { key, was, .. } in edits {
        let found = provider.read(key)?;
        if !Records::same(key.kind, found.as_ref(), was.as_ref()) {
            return Err(Unwritten::Changed(Box::new(Changed {
                key: key.clone(),
                was: was.clone(),
                found,
            })));
        }
    }
    Ok(())
}
