//! Gathers the orders of one call: the facts first, then what follows from them, then what people
//! are told.

use super::decide::Next;
use super::order::Due;
use super::{Commit, Delivery, Drive, Now, Order, Refused, Work};
use crate::message;
use crate::run::watch::is_watched;
use crate::run::{Fact, MessageSent, Moment, Occasion};
use crate::runbook::Span;
use crate::runbook::reading::{EffectError, Reading};

/// How often budgets are looked at.
pub(super) const PRICED: Span = Span::from_secs(1);

impl Drive {
    pub(super) fn orders(&mut self, now: Now, next: Next) -> Vec<Order> {
        let mut orders: Vec<Order> =
            std::mem::take(&mut self.notes).into_iter().map(Order::Note).collect();
        let after = std::mem::take(&mut self.after);
        let events = std::mem::take(&mut self.pending);
        let has_facts = !events.is_empty();
        let launches = || {
            after.iter().filter_map(|order| match order {
                Order::Launch(launch) => Some(launch),
                _ => None,
            })
        };
        let needs_keeper =
            launches().any(|launch| launch.is_command()) || self.guards_begin_commands();
        // What was found is restored by it, so it must be as certain as a beginning.
        let has_found = events.iter().any(|event| matches!(event.fact, Fact::StepSaw { .. }));
        let is_anchored = has_found || launches().any(|launch| launch.acts_outside());
        if has_facts || needs_keeper || is_anchored {
            orders.push(Order::Commit(Commit { events, is_anchored, needs_keeper }));
        }
        orders.extend(after);
        self.deliver_due(now, &mut orders);
        if !matches!(next, Next::Undecided) {
            self.watch_guards(&mut orders);
        }
        if let Next::Over(exit) = &next {
            self.over = Some(exit.clone());
        }
        if self.undelivered > 0 {
            // What comes of the deliveries are facts too.
            return orders;
        }
        match next {
            Next::Over(exit) => orders.push(Order::Over(exit)),
            Next::Undecided => {}
            Next::GoOn => orders.push(Order::GoOn),
            Next::Wait(due) => {
                if let Some(ix) = self.to_ask.take() {
                    self.asking = Some(ix);
                    orders.push(Order::Ask(Box::new(self.question(ix))));
                }
                orders.push(Order::Wait { until: self.wakes(now, due) });
            }
        }
        orders
    }

    /// When to decide again at the latest.
    fn wakes(&self, now: Now, due: Option<Moment>) -> Option<Moment> {
        let running = self.running.values();
        let limits = running.flat_map(|running| [running.deadline, running.kill_at]).flatten();
        let priced = (!self.state.runbook.budgets.is_empty()).then(|| now.clock.after(PRICED));
        limits.chain(due).chain(priced).min()
    }

    /// Orders what is due: messages of steps, and those that the run owes, which an earlier session
    /// may have left.
    fn deliver_due(&mut self, now: Now, orders: &mut Vec<Order>) {
        // What could not be written is tried again by the next session, not by each commit.
        let told = std::mem::replace(&mut self.told_until, self.state.head);
        let owed = self.state.notices.owed.iter().filter(|occasion| occasion.of > told);
        let owed: Vec<Delivery> =
            owed.filter_map(|occasion| self.owed(now, occasion.clone())).collect();
        let mut due = [owed, std::mem::take(&mut self.letters)].concat();
        // A step's message stands behind what the run owed before.
        due.sort_by_key(|delivery| match &delivery.of {
            Due::Occasion(occasion) => (occasion.of, 0),
            Due::Step { of, .. } => (*of, 1),
        });
        self.undelivered += due.len();
        orders.extend(due.into_iter().map(|delivery| Order::Deliver(Box::new(delivery))));
    }

    fn owed(&self, now: Now, occasion: Occasion) -> Option<Delivery> {
        let template = occasion.template(&self.state.runbook)?;
        let message = message::of_occasion(&occasion, template, &self.state, now.wall);
        Some(Delivery { of: Due::Occasion(occasion), message })
    }

    pub(super) fn delivered(
        &mut self,
        now: Now,
        Delivery { of, message }: Delivery,
        result: Result<Box<MessageSent>, String>,
    ) -> Result<(), Refused> {
        match (of, result) {
            (Due::Occasion(_), Ok(sent)) => self.record(now, Fact::MessageSent(*sent)),
            // A message that cannot be written must not stop a migration half-way; that it is
            // missing shows in the audit.
            (Due::Occasion(occasion), Err(why)) => {
                self.notes.push(format!(
                    "the message {} could not be written: {why}; the next session tries it again",
                    occasion.kind.word()
                ));
                Ok(())
            }
            (Due::Step { ix, direction, attempt, .. }, result) => {
                let result = match result {
                    Ok(sent) => {
                        self.record(now, Fact::MessageSent(*sent))?;
                        let to = match message.to.is_empty() {
                            true => "the outbox".to_owned(),
                            false => message.to.join(", "),
                        };
                        let summary = format!("sent to {to}");
                        Ok(Reading { is_good: true, summary, ..Reading::default() })
                    }
                    Err(why) => {
                        Err(EffectError::before(format!("the message could not be written: {why}")))
                    }
                };
                self.finish(now, ix, direction, attempt, result, Vec::new(), 0.0)
            }
        }
    }

    /// Whether a guard that is watched begins commands.
    fn guards_begin_commands(&self) -> bool {
        let mut watched =
            self.state.runbook.guards.iter().filter(|guard| is_watched(&self.state, guard));
        watched.any(|guard| guard.analysis.runs_commands())
    }

    /// Begins and ends the watch of guards as the run stands.
    fn watch_guards(&mut self, orders: &mut Vec<Order>) {
        for (number, guard) in self.state.runbook.guards.iter().enumerate() {
            match (is_watched(&self.state, guard), self.watched.contains_key(&number)) {
                (true, false) => {
                    self.watched.insert(number, None);
                    orders.push(Order::Watch(number));
                }
                (false, true) => {
                    self.watched.remove(&number);
                    orders.push(Order::Unwatch(number));
                }
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Begins an action once what was decided is durable.
    pub(super) fn launch(&mut self, now: Now, launch: super::Launch) {
        let deadline = launch.timeout.map(|timeout| now.clock.after(timeout));
        let running = super::Running { attempt: launch.attempt, deadline, kill_at: None };
        self.running.insert((launch.ix, launch.direction), running);
        self.after.push(Order::Launch(Box::new(launch)));
    }

    /// How many actions are to be begun with the next commit.
    pub(super) fn launched(&self) -> usize {
        let is_action = |order: &&Order| match order {
            Order::Launch(launch) => launch.work != Work::Probe,
            _ => false,
        };
        self.after.iter().filter(is_action).count()
    }
}
