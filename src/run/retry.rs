//! When a failed attempt is repeated by itself. Knows only the policy, the failure and a share of
//! chance.

use super::event::{Failure, FailureKind};
use crate::runbook::{Act, Span};

/// The pause before the next attempt, or `None` if there is none. `chance` is in 0..1.
///
/// Attempts are repeated only if the act is idempotent or the failure provably came before the
/// effect, and never after a person's no.
pub fn pause(act: &Act, attempt: u32, failure: &Failure, chance: f64) -> Option<Span> {
    let retry = act.retry.as_ref()?;
    let safe = act.idempotent || failure.kind == FailureKind::BeforeEffect;
    if !safe || failure.kind == FailureKind::Refused || attempt >= retry.attempts {
        return None;
    }
    let full = longest(act, attempt)?.as_millis();
    let fixed = full as f64 * (1.0 - retry.jitter);
    Some(Span::from_millis((fixed + full as f64 * retry.jitter * chance) as u64))
}

/// The longest pause behind an attempt.
pub fn longest(act: &Act, attempt: u32) -> Option<Span> {
    let retry = act.retry.as_ref()?;
    let doublings = attempt.saturating_sub(1).min(30);
    let full = retry.backoff.as_millis().saturating_mul(1 << doublings);
    Some(Span::from_millis(full.min(retry.max_backoff.as_millis())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::{Action, Retry};

    fn act(idempotent: bool) -> Act {
        let retry = Retry {
            attempts: 4,
            backoff: Span::from_secs(1),
            max_backoff: Span::from_secs(3),
            jitter: 0.5,
        };
        Act {
            action: Action::Join,
            env: Default::default(),
            timeout: None,
            retry: Some(retry),
            idempotent,
            probe: None,
            expect: vec![],
            capture: Default::default(),
        }
    }

    fn failure(kind: FailureKind) -> Failure {
        Failure { kind, message: String::new() }
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_end() {
        let pauses: Vec<_> = (1..=4)
            .map(|attempt| {
                pause(&act(true), attempt, &failure(FailureKind::Failed), 1.0).map(Span::as_millis)
            })
            .collect();
        assert_eq!(pauses, [Some(1000), Some(2000), Some(3000), None]);
        assert_eq!(
            pause(&act(true), 1, &failure(FailureKind::Failed), 0.0),
            Some(Span::from_millis(500))
        );
    }

    #[test]
    fn only_what_is_safe_is_repeated() {
        assert_eq!(pause(&act(false), 1, &failure(FailureKind::Failed), 0.0), None);
        assert!(pause(&act(false), 1, &failure(FailureKind::BeforeEffect), 0.0).is_some());
        assert_eq!(pause(&act(true), 1, &failure(FailureKind::Refused), 0.0), None);
    }
}
