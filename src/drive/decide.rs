//! Asks the planner until it has nothing more to decide now, and turns each decision into facts and
//! orders.

use super::{Drive, Exit, Now, Order, Pair};
use crate::run::{Decision, Fact, IllegalEvent, Limits, Mode, Moment, next};
use crate::runbook::{Direction, Downtime, StepIx};

/// What comes behind the facts and orders of one call.
pub(super) enum Next {
    /// There is more to decide.
    GoOn,
    /// Something must come in first, or this moment.
    Wait(Option<Moment>),
    Over(Exit),
}

impl Drive {
    pub(super) fn decide(&mut self, now: Now) -> Result<Next, IllegalEvent> {
        self.to_ask = None;
        loop {
            // Of a point of no return that is not for this run, nobody need be asked.
            if self.draining.is_none() && self.state.mode == Mode::Forward {
                let mut points = self.state.unconfirmed();
                let skipped = points.find_map(|ix| Some((ix, self.passes_over(ix).ok()??)));
                drop(points);
                if let Some((ix, because)) = skipped {
                    self.record(now, Fact::StepSkipped { step: self.id(ix), because })?;
                    continue;
                }
            }
            let limits = Limits {
                parallel: self.settings.parallel,
                draining: self.draining,
                attended: self.settings.attended,
                consents: self.settings.consents,
            };
            let decision = next(&self.state, now.clock, limits);
            if matches!(decision, Decision::Begin(ix, Direction::Forward) if self.takes_down(ix))
                && self.is_breached_now(now)?
            {
                continue;
            }
            if let Some(next) = self.carry(now, decision)? {
                return Ok(next);
            }
            // The more is decided before a commit, the fewer commits; but what could run should not
            // wait for the rest.
            if self.launched() >= self.settings.parallel {
                return Ok(Next::GoOn);
            }
        }
    }

    /// Carries one decision out, as far as facts and orders go; nothing if the planner is to be
    /// asked again.
    fn carry(&mut self, now: Now, decision: Decision) -> Result<Option<Next>, IllegalEvent> {
        match decision {
            Decision::Begin(ix, Direction::Forward)
                if self.settings.guided && !self.released.contains(&ix) =>
            {
                self.to_ask = self.asking.is_none().then_some(ix);
                Ok(Some(Next::Wait(None)))
            }
            // What it says may be a reason not to.
            Decision::Begin(_, Direction::Forward) if self.is_a_guard_unread() => {
                Ok(Some(Next::Wait(None)))
            }
            Decision::Begin(ix, direction) | Decision::Probe(ix, direction)
                if self.may_be_in_the_way((ix, direction)) =>
            {
                if self.clearing.insert((ix, direction)) {
                    self.after.push(Order::Clear(ix, direction));
                }
                Ok(Some(Next::Wait(None)))
            }
            Decision::Begin(ix, direction) => {
                let is_look = direction == Direction::Forward && self.state.is_only_looked_at(ix);
                match is_look {
                    true if !self.examined.contains_key(&ix) => {
                        self.after.push(Order::Examine(ix));
                        return Ok(Some(Next::Wait(None)));
                    }
                    true => self.look_at(now, ix)?,
                    false => self.begin_attempt(now, ix, direction)?,
                }
                Ok(None)
            }
            Decision::Confirm(ix) => {
                let (step, actor) = (self.id(ix), self.settings.operator.clone());
                let reason = "--yes was given".to_owned();
                self.record(now, Fact::PointConfirmed { step, actor, reason })?;
                Ok(None)
            }
            Decision::Skip(ix, because) => {
                self.record(now, Fact::StepSkipped { step: self.id(ix), because })?;
                Ok(None)
            }
            Decision::Pass(ix) => {
                self.record(now, Fact::UndoPassed { step: self.id(ix) })?;
                Ok(None)
            }
            Decision::Probe(ix, direction) => match self.probe(now, ix, direction)? {
                true => Ok(None),
                false => Ok(Some(Next::Wait(None))),
            },
            Decision::RollBack { because } => {
                let actor = self.settings.operator.clone();
                let is_retreat = self.state.watch.retreats.is_some();
                self.record(now, Fact::RollbackBegan { to: None, because, actor, force: false })?;
                if is_retreat {
                    self.retreat(now)?;
                }
                Ok(None)
            }
            Decision::Wait { until } => {
                let mut asked = self.state.asked().chain(self.state.unconfirmed());
                if let Some(ix) = asked.next()
                    && self.settings.attended
                    && self.draining.is_none()
                {
                    self.to_ask = self.asking.is_none().then_some(ix);
                }
                Ok(Some(Next::Wait(until)))
            }
            Decision::Stop(because) => {
                self.record(now, Fact::RunStopped { because: because.clone() })?;
                Ok(Some(Next::Over(Exit::Stopped(because))))
            }
            Decision::End(outcome) => {
                if self.state.ended.is_none() {
                    self.record(now, Fact::RunEnded { outcome })?;
                }
                Ok(Some(Next::Over(Exit::Ended(outcome))))
            }
        }
    }

    /// Whether production, which is up, is taken down by this step.
    fn takes_down(&self, ix: StepIx) -> bool {
        self.state.down_since.is_none()
            && self.state.runbook.step(ix).downtime == Some(Downtime::Begins)
    }

    /// Whether something of the last attempt may live.
    fn may_be_in_the_way(&self, pair: Pair) -> bool {
        let attempts = self.state.attempts(pair.0, pair.1);
        attempts > 0
            && !self.is_running(pair)
            && self.cleared.get(&pair).is_none_or(|(cleared, _)| *cleared != attempts)
    }
}
