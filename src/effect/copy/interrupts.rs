//! What is called when a copy is stopped: each connection says how what it does is interrupted.

use std::sync::{Arc, Mutex, PoisonError};

/// Shared by all connections of an attempt.
#[derive(Clone, Default)]
pub struct Interrupts(Arc<Mutex<Vec<Interrupt>>>);

type Interrupt = Box<dyn Fn() + Send>;

impl Interrupts {
    /// Adds a way that takes no time.
    pub fn add(&self, interrupt: impl Fn() + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(interrupt));
    }

    pub fn call(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .for_each(|interrupt| interrupt());
    }
}
