//! When a change counts: Route 53 takes it at once, and says `INSYNC` only when all its name
//! servers have it. Knows nothing of what was changed.

use std::time::{Duration, Instant};

use aws_sdk_route53::types::{ChangeInfo, ChangeStatus};

use super::{Api, Refusal, TRIES};
use crate::effect::{EffectError, Stopper, Teller};
use crate::runbook::Span;

/// The first pause between two looks, and the longest: it answers only a few requests a second, of
/// all who use the account.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5);

/// A change that is on its way.
#[derive(Clone)]
pub struct Pending {
    pub id: String,
    /// An earlier attempt made it, perhaps so long ago that nobody knows it any more.
    pub is_earlier: bool,
}

impl Pending {
    /// What is still to be waited for of a change that was taken now.
    pub fn of(info: Option<&ChangeInfo>) -> Option<Pending> {
        let info = info.filter(|info| *info.status() != ChangeStatus::Insync)?;
        Some(Pending { id: info.id().trim_start_matches("/change/").to_owned(), is_earlier: false })
    }
}

/// Waits until all name servers have the change.
pub fn wait(
    api: &Api,
    pending: &Pending,
    stopper: &Stopper,
    teller: &Teller,
) -> Result<(), EffectError> {
    let Pending { id, is_earlier } = pending;
    let (begun, shown) = (Instant::now(), &api.shown);
    let (mut pause, mut unanswered) = (FIRST, 0);
    loop {
        match api.runtime.block_on(api.client.get_change().id(id).send()) {
            Ok(answer)
                if answer
                    .change_info()
                    .is_some_and(|info| *info.status() == ChangeStatus::Insync) =>
            {
                return Ok(());
            }
            Ok(_) => unanswered = 0,
            Err(error) => {
                let refusal = Refusal::of(&error);
                if *is_earlier && refusal.code.as_deref() == Some("NoSuchChange") {
                    return Ok(());
                }
                unanswered += 1;
                // What it refuses for good, it would refuse again.
                if refusal.code.is_some() && refusal.is_certain && !refusal.is_busy()
                    || unanswered == TRIES
                {
                    return Err(EffectError::during(format!(
                        "{shown} has taken the change {id}, but whether all its name servers have \
                         it could not be read: {}\nthe credentials need `route53:GetChange`; then \
                         try again: what is changed already is not changed again",
                        refusal.words
                    )));
                }
            }
        }
        let waited = Span::from_secs(begun.elapsed().as_secs());
        teller.progress(format!(
            "{shown} passes the change {id} on to its name servers, for {waited} now"
        ));
        if stopper.sleep(pause) {
            return Err(EffectError::during(format!(
                "it was stopped; {shown} has taken the change {id}, and not all its name servers \
                 had it after {waited}"
            )));
        }
        pause = LONGEST.min(pause * 2);
    }
}
