//! What was compiled on this thread, by its source: compiling costs far more than using it, and the
//! same few sources are used again and again. Knows nothing of what is compiled.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The most that is kept. Beyond it all is forgotten, which costs a little time and nothing else.
const MOST: usize = 1000;

pub struct Compiled<T>(RefCell<HashMap<Box<str>, Rc<T>>>);

impl<T> Compiled<T> {
    pub fn new() -> Compiled<T> {
        Compiled(RefCell::default())
    }

    /// What `source` is compiled to. What does not compile is not kept.
    pub fn get<E>(&self, source: &str, compile: impl FnOnce() -> Result<T, E>) -> Result<Rc<T>, E> {
        if let Some(known) = self.0.borrow().get(source) {
            return Ok(Rc::clone(known));
        }
        let fresh = Rc::new(compile()?);
        let mut kept = self.0.borrow_mut();
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(source.into(), Rc::clone(&fresh));
        Ok(fresh)
    }
}
