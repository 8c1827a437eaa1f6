//! The law of messages: what people are owed they are told, once. Read from the journal and from what
//! people heard.

use switchover::run::{Fact, Outcome};

use super::case::{Case, History, Told};

/// Law 42.
pub fn check(case: &Case, history: &History) -> Result<(), String> {
    if case.book.occasions.is_empty() {
        return Ok(());
    }
    for (number, told) in history.told.iter().enumerate() {
        let Told { occasion, of, journaled, session } = told;
        let is_same = |other: &&Told| (other.occasion, other.of) == (*occasion, *of);
        let before = history.told[..number].iter().rfind(is_same);
        // Only who died between the message and its fact may leave it to be told again.
        if before.is_some_and(|before| before.session == *session) {
            return Err(format!("law 42: the {occasion} of event {of} was told twice at once"));
        }
        if is_recorded(history, occasion, *of, *journaled) {
            return Err(format!("law 42: the {occasion} of event {of} was told again"));
        }
    }
    let ends = history.journal.iter().filter_map(|event| match &event.fact {
        Fact::RunStarted(_) => Some(("start", event.number)),
        Fact::RunEnded { outcome: Outcome::Finished } => Some(("success", event.number)),
        Fact::RunEnded { outcome: Outcome::RolledBack } => Some(("rolled_back", event.number)),
        _ => None,
    });
    for (occasion, of) in ends {
        if !is_recorded(history, occasion, of, history.journal.len()) {
            return Err(format!("law 42: nobody was told of the {occasion} at event {of}"));
        }
    }
    Ok(())
}

/// Whether it was durable that people were told, when so many events were.
fn is_recorded(history: &History, occasion: &str, of: u64, journaled: usize) -> bool {
    history.journal[..journaled].iter().any(|event| match &event.fact {
        Fact::MessageSent(sent) => sent.occasion == occasion && sent.of == Some(of),
        _ => false,
    })
}
