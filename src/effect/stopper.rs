//! Ends an action from outside: a flag that waits look at, and whatever must be called to interrupt
//! what cannot look.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shared by an action's thread and the engine.
#[derive(Default)]
pub struct Stopper {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    stopped: Option<Instant>,
    /// How long everything stood still, which does not count.
    away: Duration,
    /// Called with `false` to ask, with `true` to force.
    interrupt: Option<Box<dyn Fn(bool) + Send>>,
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Stopper")
    }
}

impl Stopper {
    /// Asks the action to end: TERM for a command, an interrupt for a statement.
    pub fn stop(&self) {
        self.end(false);
    }

    /// Ends it without asking: KILL for a command's whole process group.
    pub fn kill(&self) {
        self.end(true);
    }

    fn end(&self, force: bool) {
        let mut state = self.lock();
        state.stopped.get_or_insert_with(Instant::now);
        if let Some(interrupt) = &state.interrupt {
            interrupt(force);
        }
        self.wake.notify_all();
    }

    /// Says how to interrupt what the thread does next; if the action was stopped already, it is
    /// interrupted at once.
    pub fn on_stop(&self, interrupt: impl Fn(bool) + Send + 'static) {
        let mut state = self.lock();
        if state.stopped.is_some() {
            interrupt(false);
        }
        state.interrupt = Some(Box::new(interrupt));
    }

    /// There is nothing to interrupt any more.
    pub fn clear(&self) {
        self.lock().interrupt = None;
    }

    /// Everything stood still for so long.
    pub fn was_away(&self, time: Duration) {
        self.lock().away += time;
    }

    pub fn is_stopped(&self) -> bool {
        self.lock().stopped.is_some()
    }

    /// Sleeps; returns early, and true, if the action is stopped.
    pub fn sleep(&self, time: Duration) -> bool {
        let begun = Instant::now();
        let mut state = self.lock();
        let before = state.away;
        while state.stopped.is_none() {
            let left = (time + (state.away - before)).saturating_sub(begun.elapsed());
            if left.is_zero() {
                return false;
            }
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
