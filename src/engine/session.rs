//! One session of one run: a loop that owns the state, asks the planner until there is nothing to
//! decide, commits what was decided, acts, and waits for what comes next.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncBufReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::attempt::{Launch, Work};
use super::messages::Letter;
use super::takeover::left;
use super::watch::Watcher;
use super::{Answer, Config, Exit, Question};
use crate::effect::{
    EffectError, Keeper, Known, Life, New, Reading, Said, Signal, Stopper, Teller, Told, Vault,
    When,
};
use crate::journal::{Durations, Head, Journal, JournalError};
use crate::run::*;
use crate::runbook::{Direction, Downtime, Secret, StepIx};

/// How long a command may take to end after TERM, before KILL.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// After how long a command that was killed, and of whose end nothing is heard, is no longer waited
/// for. A keeper gives up sooner.
pub(super) const UNANSWERED: Duration = Duration::from_secs(25);
/// How often cursors and progress are looked at.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Session<'a> {
    pub journal: Journal,
    pub head: Head,
    pub state: RunState,
    pub config: Config,
    pub observer: &'a mut dyn Observer,
    /// Applied, not yet committed.
    pub pending: Vec<Event>,
    /// To be begun once their events are durable.
    pub launches: Vec<Launch>,
    /// Messages that are steps' actions, to be delivered after the next commit.
    pub letters: Vec<Letter>,
    /// The number of the fact up to which people were told what they are owed, as far as it could
    /// be delivered.
    pub told_until: u64,
    /// To be removed when nothing waits for it.
    pub empty_logs: Vec<std::path::PathBuf>,
    pub keeper: Keeper,
    /// What earlier sessions recorded of their commands, and still record.
    pub left: Known,
    /// The secrets that the run has used so far.
    pub vault: Vault,
    pub running: HashMap<(StepIx, Direction), Running>,
    pub send: mpsc::UnboundedSender<Input>,
    /// The guards that are watched, by number.
    pub watchers: HashMap<usize, Watcher>,
    /// Those that are not watched any more, and may still read.
    pub halted: Vec<Watcher>,
    /// What steps should take.
    pub expected: Expected,
    /// When budgets were looked at last.
    pub priced: Option<Instant>,
    draining: Option<i32>,
    signals: u32,
    /// The step that a person is being asked about.
    asking: Option<StepIx>,
    /// The step that a person is to be asked about next.
    to_ask: Option<StepIx>,
    /// Steps of a guided run that got their go.
    released: HashSet<StepIx>,
    /// When cursors and progress were looked at last.
    looked: Instant,
    /// What was last said of processes that are waited for.
    pub awaited: Option<String>,
    /// Whether the run's witness lets this session go on.
    pub is_witnessed: bool,
    /// When the session began, by the clock on the wall and by one that does not jump.
    begun: (Moment, Instant),
}

/// An attempt that runs.
pub(super) struct Running {
    pub stopper: Arc<Stopper>,
    pub deadline: Option<Instant>,
    pub kill_at: Option<Instant>,
    pub attempt: u32,
    /// When it was to be killed at last.
    pub killed: Option<Instant>,
    pub watch: Watch,
    /// When it was first seen not to live any more, although its end was not recorded.
    pub gone: Option<Instant>,
    /// The last cursor that was told and is not journaled yet.
    pub cursor: Option<String>,
}

/// Who sees a running attempt end.
pub(super) enum Watch {
    /// This session, or its keeper.
    Here,
    /// The keeper of an earlier session, if it lives.
    Earlier,
    /// Nobody any more, for this reason, although it may still run.
    Nobody(EffectError),
}

/// Everything that can come in.
pub(super) enum Input {
    Finished {
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        result: Result<Reading, EffectError>,
    },
    Probed {
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        result: Result<Reading, EffectError>,
    },
    Told {
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        told: Told,
    },
    Answered {
        ix: StepIx,
        question: Box<Question>,
        answer: Answer,
    },
    /// A guard, by its number.
    Read {
        number: usize,
        said: Said,
    },
    Signal(i32),
    /// Ctrl-Z.
    Suspend,
}

fn ended(
    ix: StepIx,
    direction: Direction,
    attempt: u32,
    is_probe: bool,
    result: Result<Reading, EffectError>,
) -> Input {
    match is_probe {
        true => Input::Probed { ix, direction, attempt, result },
        false => Input::Finished { ix, direction, attempt, result },
    }
}

/// What is journaled before anything is decided.
#[derive(Default)]
pub(super) struct Facts {
    /// Results that an earlier session kept.
    pub kept: Vec<Fact>,
    /// What the operator wants.
    pub wanted: Vec<Fact>,
}

pub(super) fn carry_out(
    journal: Journal,
    head: Head,
    state: RunState,
    facts: Facts,
    config: Config,
    observer: &mut dyn Observer,
) -> Result<(RunState, Exit), JournalError> {
    let hidden = state.runbook.scopes.iter().flat_map(|scope| scope.secrets.values());
    let hidden = hidden.filter_map(|secret| {
        if let Secret::Env(variable) = secret { Some(variable.clone()) } else { None }
    });
    let keeper = Keeper::new(journal.run_folder(&head.run), state.head, hidden.collect());
    let left = left(&journal, &state)?;
    // Only who has a budget needs to know how long steps took that say nothing of it.
    let history = if state.runbook.budgets.is_empty() {
        Durations::default()
    } else {
        journal.history(&state.runbook, &head.run)?
    };
    let expected = Expected::of(&state.runbook, &history);
    let has_secrets = !state.secrets.is_empty()
        || state.runbook.scopes.iter().any(|scope| !scope.secrets.is_empty());
    let vault = if has_secrets {
        Vault::new(journal.mac_key()?, journal.secrets_folder(&head.run))
    } else {
        Vault::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(JournalError::io(journal.folder(), "served"))?;
    let (send, receive) = mpsc::unbounded_channel();
    let mut session = Session {
        journal,
        head,
        state,
        config,
        observer,
        pending: Vec::new(),
        launches: Vec::new(),
        letters: Vec::new(),
        told_until: 0,
        empty_logs: Vec::new(),
        keeper,
        left,
        vault,
        running: HashMap::new(),
        send,
        watchers: HashMap::new(),
        halted: Vec::new(),
        expected,
        priced: None,
        draining: None,
        signals: 0,
        asking: None,
        to_ask: None,
        released: HashSet::new(),
        looked: Instant::now(),
        awaited: None,
        is_witnessed: false,
        begun: (now(), Instant::now()),
    };
    // By a clock that was put back meanwhile, the next attempt could be years away.
    if let Some(earliest) =
        not_before(&session.state).filter(|earliest| *earliest > session.begun.0)
    {
        session.begun.0 = earliest;
    }
    session.recall();
    let exit = runtime.block_on(session.run(facts, receive));
    session.end_watch();
    // A thread may still wait, for a person or a server; it must not keep the process.
    runtime.shutdown_background();
    session.part_from_witness();
    session.forget_secrets();
    let exit = exit?;
    if session.state.sets.running.is_empty() {
        session.head.release();
    }
    Ok((session.state, exit))
}

impl Session<'_> {
    async fn run(
        &mut self,
        facts: Facts,
        mut receive: mpsc::UnboundedReceiver<Input>,
    ) -> Result<Exit, JournalError> {
        self.listen();
        for fact in facts.kept {
            self.record(fact)?;
        }
        if let Some(signal) = self.take_over(&mut receive).await? {
            self.commit()?;
            return Ok(Exit::Stopped(Stop::Interrupted { signal }));
        }
        for mut fact in facts.wanted {
            if let Fact::RunResumed { still_running, .. } = &mut fact {
                let step = |(ix, direction): &(StepIx, Direction)| StillRunning {
                    step: self.id(*ix),
                    direction: *direction,
                };
                *still_running = self.running.keys().map(step).collect();
            }
            self.record(fact)?;
            // What this session has written itself stands in no other copy: only now can a witness
            // tell them apart.
            if !self.is_witnessed {
                self.commit()?;
                self.ask_witness()?;
            }
        }
        self.commit()?;
        self.ask_witness()?;
        self.journal.forget_kept(&self.head)?;
        self.tell_of_doubt();
        loop {
            self.find_breaches()?;
            let wait = self.decide()?;
            self.commit()?;
            self.watch_guards();
            let wait = match wait {
                Next::Over(exit) => {
                    self.commit()?;
                    self.journal.anchor(&mut self.head)?;
                    return Ok(exit);
                }
                // Only now is it known what runs, and until when.
                Next::Wait(due) => self.next_look(due),
            };
            if !self.pending.is_empty() {
                continue; // delivered messages are facts too
            }
            self.ask();
            let input = match wait.map(|until| until.saturating_duration_since(Instant::now())) {
                None => receive.recv().await,
                Some(time) => tokio::time::timeout(time, receive.recv()).await.unwrap_or_default(),
            };
            let mut next = input;
            while let Some(input) = next {
                self.handle(input)?;
                next = receive.try_recv().ok();
            }
            self.look()?;
        }
    }

    /// What a person must decide is told at once, also if something else still runs for hours.
    fn tell_of_doubt(&mut self) {
        let asks = |(ix, direction): &&(StepIx, Direction)| {
            self.state
                .runbook
                .step(*ix)
                .act(*direction)
                .is_some_and(|act| !act.idempotent && act.probe.is_none())
        };
        let doubts: Vec<String> = self
            .state
            .sets
            .doubt
            .iter()
            .filter(asks)
            .map(|(ix, _)| self.id(*ix).to_string())
            .collect();
        if !doubts.is_empty() && !self.running.is_empty() && self.state.mode == Mode::Forward {
            let doubts = doubts.join(", ");
            self.observer.note(&format!(
                "nobody knows how {doubts} ended; nothing new begins, and once \
                    nothing runs any more you are asked"
            ));
        }
    }

    /// Whether the operator wants to stop.
    pub fn draining(&self) -> bool {
        self.draining.is_some()
    }

    /// The time that decides what is due in this session: it goes on whatever is done to the clock
    /// on the wall.
    pub fn clock(&self) -> Moment {
        let (moment, instant) = self.begun;
        Moment(moment.0 + instant.elapsed().as_millis() as i64)
    }

    /// Asks the planner until it has nothing more to decide now.
    fn decide(&mut self) -> Result<Next, JournalError> {
        loop {
            let now = self.clock();
            let Config { parallel, consents, .. } = self.config;
            // Of a point of no return that is not for this run, nobody need be asked.
            let skipped =
                self.state.unconfirmed().find_map(|ix| Some((ix, self.passes_over(ix).ok()??)));
            if let Some((ix, because)) =
                skipped.filter(|_| self.draining.is_none() && self.state.mode == Mode::Forward)
            {
                self.record(Fact::StepSkipped { step: self.id(ix), because })?;
                continue;
            }
            let limits = Limits {
                parallel,
                draining: self.draining,
                attended: self.config.ask.is_some(),
                consents,
            };
            let decision = next(&self.state, now, limits);
            if matches!(decision, Decision::Begin(ix, Direction::Forward) if self.takes_down(ix))
                && self.is_breached_now()?
            {
                continue;
            }
            match decision {
                Decision::Begin(ix, Direction::Forward)
                    if self.config.guided && !self.released.contains(&ix) =>
                {
                    self.to_ask = self.asking.is_none().then_some(ix);
                    return Ok(Next::Wait(None));
                }
                // What it says may be a reason not to.
                Decision::Begin(_, Direction::Forward) if self.is_a_guard_unread() => {
                    return Ok(Next::Wait(None));
                }
                Decision::Begin(ix, direction) | Decision::Probe(ix, direction)
                    if self.is_in_the_way((ix, direction)) =>
                {
                    return Ok(Next::Wait(Some(Instant::now() + Duration::from_millis(200))));
                }
                Decision::Begin(ix, direction) => self.begin(ix, direction)?,
                Decision::Confirm(ix) => {
                    let (step, actor) = (self.id(ix), self.config.operator.clone());
                    self.record(Fact::PointConfirmed {
                        step,
                        actor,
                        reason: "--yes was given".to_owned(),
                    })?;
                }
                Decision::Skip(ix, because) => {
                    self.record(Fact::StepSkipped { step: self.id(ix), because })?
                }
                Decision::Pass(ix) => self.record(Fact::UndoPassed { step: self.id(ix) })?,
                Decision::Probe(ix, direction) => {
                    if !self.probe(ix, direction)? {
                        return Ok(Next::Wait(None));
                    }
                }
                Decision::RollBack { because } => {
                    let actor = self.config.operator.clone();
                    let is_retreat = self.state.watch.retreats.is_some();
                    self.record(Fact::RollbackBegan { to: None, because, actor, force: false })?;
                    if is_retreat {
                        self.retreat()?;
                    }
                }
                Decision::Wait { until } => {
                    if let Some(ix) = self.state.asked().chain(self.state.unconfirmed()).next()
                        && self.config.ask.is_some()
                        && self.draining.is_none()
                    {
                        self.to_ask = self.asking.is_none().then_some(ix);
                    }
                    let due = until.map(|until| {
                        Instant::now() + Duration::from_millis(until.since(now).as_millis())
                    });
                    return Ok(Next::Wait(due));
                }
                Decision::Stop(because) => {
                    self.record(Fact::RunStopped { because: because.clone() })?;
                    return Ok(Next::Over(Exit::Stopped(because)));
                }
                Decision::End(outcome) => {
                    if self.state.ended.is_none() {
                        self.record(Fact::RunEnded { outcome })?;
                    }
                    return Ok(Next::Over(Exit::Ended(outcome)));
                }
            }
            // The more is decided before a commit, the fewer commits; but what could run should not
            // wait for the rest.
            if self.launches.len() >= self.config.parallel {
                self.commit()?;
            }
        }
    }

    /// Whether production, which is up, is taken down by this step.
    fn takes_down(&self, ix: StepIx) -> bool {
        self.state.down_since.is_none()
            && self.state.runbook.step(ix).downtime == Some(Downtime::Begins)
    }

    /// Makes what was decided durable, then acts on it.
    pub fn commit(&mut self) -> Result<(), JournalError> {
        // Before anything says that a command begins: only then can it be proved later that one did
        // not.
        if self.launches.iter().any(Launch::is_command) || self.guards_begin_commands() {
            let new = self.keeper.ensure(self.state.head);
            match new.and_then(|new| new.map_or(Ok(()), |new| self.meet(new))) {
                Ok(()) => {}
                Err(error) => self.observer.note(&format!(
                    "the process that begins commands could not be started: {error}"
                )),
            }
        }
        let events = std::mem::take(&mut self.pending);
        if let Err(error) = self.journal.append(&mut self.head, &events) {
            if self.journal.keep(&self.head, &events) {
                self.observer.note(
                    "the last results could not be journaled; they are kept beside the \
                        journal, and the next session takes them up",
                );
            }
            return Err(error);
        }
        if self.launches.iter().any(|launch| launch.acts_outside()) {
            self.journal.anchor(&mut self.head)?;
        }
        if !events.is_empty() {
            self.observer.committed(&self.state);
        }
        for launch in std::mem::take(&mut self.launches) {
            self.launch(launch);
        }
        for event in &events {
            self.observer.event(&self.state, event);
        }
        for path in self.empty_logs.drain(..) {
            if path.metadata().is_ok_and(|found| found.len() == 0) {
                let _ = std::fs::remove_file(path);
            }
        }
        self.deliver_due()
    }

    /// Listens to a new keeper, and reads what it records.
    fn meet(&mut self, New { socket, record }: New) -> std::io::Result<()> {
        self.hear(tokio::net::UnixStream::from_std(socket)?);
        // Without its record nobody could tell what it left: then rather none.
        self.left.add(&record).inspect_err(|_| self.keeper.kill())
    }

    /// Passes on what a keeper says, to its end.
    fn hear(&self, socket: tokio::net::UnixStream) {
        let keeper = self.keeper.clone();
        tokio::spawn(async move {
            let mut lines = tokio::io::BufReader::new(socket).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                keeper.hear(&line);
            }
            keeper.lose();
        });
    }

    fn launch(&mut self, launch: Launch) {
        let Launch { ix, direction, attempt, work, timeout } = launch;
        let stopper = Arc::new(Stopper::default());
        let (job, is_probe) = match work {
            Work::Act(job) => (job, false),
            Work::Probe(job) => (job, true),
        };
        let deadline = timeout.map(|span| Instant::now() + span.as_duration());
        let running = Running {
            stopper: Arc::clone(&stopper),
            deadline,
            kill_at: None,
            attempt,
            killed: None,
            watch: Watch::Here,
            gone: None,
            cursor: None,
        };
        self.running.insert((ix, direction), running);
        let send = self.send.clone();
        // If nobody listens any more, the session is over; the journal knows that this attempt
        // began.
        let then = move |result| drop(send.send(ended(ix, direction, attempt, is_probe, result)));
        if !crate::effect::begin(&job, &self.keeper, &stopper, then.clone()) {
            let (keeper, send) = (self.keeper.clone(), self.send.clone());
            let teller = Teller::new(move |told| {
                drop(send.send(Input::Told { ix, direction, attempt, told }))
            });
            tokio::task::spawn_blocking(move || {
                then(crate::effect::perform(&job, &keeper, &stopper, &teller))
            });
        }
    }

    fn handle(&mut self, input: Input) -> Result<(), JournalError> {
        match input {
            Input::Finished { ix, direction, attempt, result } => {
                if let Err(error) = &result
                    && error.when == When::Unknown
                    && let Some(running) = self.running.get_mut(&(ix, direction))
                {
                    running.watch = Watch::Nobody(error.clone());
                    // Its keeper may not have heard of it.
                    if running.killed.is_none() && running.kill_at.is_some() {
                        let life = self.life((ix, direction), &crate::effect::processes());
                        crate::effect::signal_all(life.processes(), Signal::TERM);
                    }
                    return self.see_from_afar();
                }
                self.save_told(ix, direction)?;
                if self.running.remove(&(ix, direction)).is_some() {
                    self.save_cursor(ix, direction)?;
                }
                self.finish(ix, direction, attempt, result)
            }
            Input::Told { ix, direction, attempt, told } => self.told(ix, direction, attempt, told),
            Input::Probed { ix, direction, attempt, result } => {
                self.running.remove(&(ix, direction));
                self.probed(ix, direction, attempt, result)
            }
            Input::Answered { ix, question, answer } => {
                self.asking = None;
                self.observer.unpause();
                self.answered(ix, &question, answer)
            }
            Input::Read { number, said } => self.guard_read(number, said),
            Input::Signal(number) => self.interrupt(number),
            Input::Suspend => {
                self.suspend();
                Ok(())
            }
        }
    }

    /// What an action says while it runs.
    fn told(
        &mut self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        told: Told,
    ) -> Result<(), JournalError> {
        match told {
            Told::Saw { what: seen, durable } => {
                let mut masked = seen.clone();
                self.vault.mask_json(&mut masked);
                if masked != seen {
                    // Masked it could not be restored, and as it is it may not be journaled:
                    // nothing is changed.
                    let note =
                        "has a secret in it, and so cannot be journaled; nothing was changed";
                    self.observer.note(&format!("what {} found {note}", self.id(ix)));
                    return Ok(());
                }
                self.record(Fact::StepSaw { step: self.id(ix), direction, attempt, seen })?;
                self.commit()?;
                self.journal.anchor(&mut self.head)?;
                // An action that was given up does not listen any more.
                let _ = durable.send(());
            }
            Told::Cursor(_)
                if direction == Direction::Forward && self.state.is_only_looked_at(ix) => {}
            Told::Cursor(cursor) => {
                if let Some(running) = self.running.get_mut(&(ix, direction)) {
                    running.cursor = Some(self.vault.mask(&cursor));
                }
            }
            // A last one may come behind the end of a step that was given up.
            Told::Reading { analysis, percent, says, words }
                if self
                    .running
                    .get(&(ix, direction))
                    .is_some_and(|running| running.attempt == attempt) =>
            {
                self.record(Fact::AnalysisRead {
                    step: self.id(ix),
                    attempt,
                    analysis,
                    percent,
                    says,
                    reading: self.vault.mask(&words),
                })?;
            }
            Told::Reading { .. } => {}
            Told::Progress(words) => {
                self.observer.progress(&self.state, ix, &self.vault.mask(&words))
            }
        }
        Ok(())
    }

    /// The first signal lets what runs finish; the second stops it; the third does not ask.
    fn interrupt(&mut self, number: i32) -> Result<(), JournalError> {
        self.signals += 1;
        self.draining.get_or_insert(number);
        let mut running: Vec<&str> =
            self.running.keys().map(|(ix, _)| &*self.state.runbook.step(*ix).id).collect();
        running.sort_unstable();
        let names = running.join(", ");
        match (running.is_empty(), self.signals) {
            (true, _) => {}
            (_, 1) => self
                .observer
                .note(&format!("nothing new begins; waiting for {names} (once more stops it)")),
            (_, 2) => self.observer.note(&format!("stopping {names} (once more kills it)")),
            _ => self.observer.note(&format!("killing {names}")),
        }
        if self.signals >= 2 {
            let running: Vec<_> = self.running.keys().copied().collect();
            for &(ix, direction) in &running {
                self.request_stop(ix, direction, StopReason::Interrupt)?;
            }
            self.commit()?;
            for pair in running {
                self.end(pair, self.signals >= 3);
            }
        }
        Ok(())
    }

    /// Stops here with all commands, until somebody lets this go on; the time in between does not
    /// count.
    fn suspend(&mut self) {
        let since = Instant::now();
        self.observer.note("stopped here, with what runs; `fg` goes on");
        self.pause(true);
        crate::effect::stop_here();
        self.pause(false);
        let away = since.elapsed();
        self.begun.1 += away;
        self.watchers.values_mut().flat_map(|watcher| &mut watcher.bad).for_each(
            |(first, last)| {
                *first += away;
                *last += away;
            },
        );
        self.running.values().for_each(|running| running.stopper.was_away(away));
        for due in self
            .running
            .values_mut()
            .flat_map(|running| [&mut running.deadline, &mut running.kill_at, &mut running.killed])
            .flatten()
        {
            *due += away;
        }
        self.observer.note(&format!("goes on after {}s", away.as_secs()));
    }

    fn pause(&self, pause: bool) {
        self.keeper.pause(pause);
        let signal = if pause { Signal::STOP } else { Signal::CONT };
        let afar: Vec<_> = self
            .running
            .iter()
            .filter(|(_, running)| !matches!(running.watch, Watch::Here))
            .map(|(pair, _)| *pair)
            .collect();
        if !afar.is_empty() {
            let all = crate::effect::processes();
            afar.into_iter().for_each(|pair| {
                crate::effect::signal_all(self.life(pair, &all).processes(), signal)
            });
        }
    }

    /// Looks at what no input tells: deadlines, and once in a while cursors and progress.
    fn look(&mut self) -> Result<(), JournalError> {
        let now_instant = Instant::now();
        let late: Vec<_> = self
            .running
            .iter()
            .filter(|(_, running)| running.deadline.is_some_and(|due| due <= now_instant))
            .map(|(pair, _)| *pair)
            .collect();
        for &(ix, direction) in &late {
            self.request_stop(ix, direction, StopReason::Timeout)?;
        }
        if !late.is_empty() {
            self.commit()?;
        }
        for pair in late {
            self.end(pair, false);
        }
        let to_kill: Vec<_> = self
            .running
            .iter()
            .filter(|(_, running)| running.kill_at.is_some_and(|due| due <= now_instant))
            .map(|(pair, _)| *pair)
            .collect();
        for pair in to_kill {
            self.end(pair, true);
        }
        // Whoever stopped or froze the keeper must not put its commands out of reach.
        if self.running.values().any(|running| {
            matches!(running.watch, Watch::Here)
                && running.killed.is_some_and(|at| at.elapsed() > UNANSWERED)
        }) {
            self.observer
                .note("the process that watches the commands does not answer, and is killed");
            self.keeper.kill();
        }
        self.see_from_afar()?;
        if now_instant.saturating_duration_since(self.looked) < LOOK {
            return Ok(());
        }
        self.looked = now_instant;
        let looked: Vec<_> = self.running.keys().copied().collect();
        for (ix, direction) in looked {
            self.save_told(ix, direction)?;
            let act = self.state.runbook.step(ix).act(direction);
            let is_command = act.is_some_and(|act| act.action.is_a_command());
            if is_command && self.is_told((ix, direction)) {
                self.save_cursor(ix, direction)?;
                if let Some(text) = self.read_last_line(ix, direction, "progress") {
                    self.observer.progress(&self.state, ix, &self.vault.mask(&text));
                }
            }
        }
        let outlook = Outlook::of(&self.state, &self.expected, now());
        self.observer.tick(&self.state, now(), &outlook);
        Ok(())
    }

    pub fn request_stop(
        &mut self,
        ix: StepIx,
        direction: Direction,
        because: StopReason,
    ) -> Result<(), JournalError> {
        let Track::Running { attempt, stopping: None, .. } = *self.state.track(ix, direction)
        else {
            return Ok(());
        };
        self.record(Fact::StopRequested { step: self.id(ix), direction, attempt, because })
    }

    pub fn end(&mut self, pair: (StepIx, Direction), force: bool) {
        let is_afar =
            self.running.get(&pair).is_some_and(|running| !matches!(running.watch, Watch::Here));
        let life = if is_afar { self.life(pair, &crate::effect::processes()) } else { Life::Gone };
        if let Some(running) = self.running.get_mut(&pair) {
            if is_afar {
                let signal = if force { Signal::KILL } else { Signal::TERM };
                crate::effect::signal_all(life.processes(), signal);
            } else if force {
                running.stopper.kill()
            } else {
                running.stopper.stop()
            }
            running.deadline = None;
            if force {
                running.killed.get_or_insert_with(Instant::now);
            }
            running.kill_at = (!force).then(|| Instant::now() + GRACE);
        }
    }

    /// When to wake at the latest.
    fn next_look(&self, due: Option<Instant>) -> Option<Instant> {
        let deadlines =
            self.running.values().flat_map(|running| [running.deadline, running.kill_at]).flatten();
        let is_afar = self.running.values().any(|running| !matches!(running.watch, Watch::Here));
        let soon = is_afar.then(|| Instant::now() + Duration::from_millis(50));
        let look = (!self.running.is_empty() || self.asking.is_some())
            .then(|| self.looked.max(Instant::now() - LOOK) + LOOK);
        deadlines.chain(due).chain(look).chain(soon).chain(self.next_breach()).min()
    }

    /// Puts the question that is due, after everything that happened before it was told.
    fn ask(&mut self) {
        let (Some(ask), Some(ix)) = (self.config.ask.clone(), self.to_ask.take()) else { return };
        self.asking = Some(ix);
        let (question, send) = (Box::new(self.question(ix)), self.send.clone());
        self.observer.pause();
        std::thread::spawn(move || {
            let answer = ask(&question);
            let _ = send.send(Input::Answered { ix, question, answer });
        });
    }

    fn answered(
        &mut self,
        ix: StepIx,
        question: &Question,
        answer: Answer,
    ) -> Result<(), JournalError> {
        let (step, actor) = (self.id(ix), self.config.operator.clone());
        let direction = question.direction;
        let resolved = |verdict, reason: String, outputs| {
            Fact::StepResolved(StepResolved {
                step: step.clone(),
                direction,
                verdict,
                actor: actor.clone(),
                reason,
                outputs,
            })
        };
        let fact = match (question.kind, answer) {
            (super::QuestionKind::Step, Answer::Go) => {
                self.released.insert(ix);
                return Ok(());
            }
            (super::QuestionKind::Point, Answer::Go) => {
                self.released.insert(ix);
                Fact::PointConfirmed { step, actor, reason: "go".to_owned() }
            }
            (super::QuestionKind::Approve, Answer::Go) => {
                resolved(Verdict::Go, "go".into(), Default::default())
            }
            (super::QuestionKind::Approve, Answer::No { reason }) => {
                resolved(Verdict::NoGo, reason, Default::default())
            }
            (super::QuestionKind::Task, Answer::Done { outputs }) => {
                resolved(Verdict::Done, "done".into(), outputs)
            }
            (super::QuestionKind::Task, Answer::No { reason }) => {
                resolved(Verdict::NotDone, reason, Default::default())
            }
            (_, Answer::Skip { reason }) => {
                Fact::StepSkipped { step, because: SkipReason::Operator { actor, reason } }
            }
            (_, Answer::RollBack { reason }) => {
                Fact::RollbackBegan { to: None, because: reason, actor, force: false }
            }
            (_, Answer::Stop) => return self.interrupt(2),
            // An answer that does not fit its question is asked for again.
            _ => return Ok(()),
        };
        // The run may have gone another way while the person thought.
        let tried = self.state.clone().apply(&Event {
            number: self.state.head + 1,
            at: now(),
            fact: fact.clone(),
        });
        match tried {
            Ok(()) => self.record(fact),
            Err(refused) => {
                self.observer.note(&format!(
                    "this answer changes nothing: {}: {}",
                    question.step, refused.why
                ));
                Ok(())
            }
        }
    }

    fn listen(&self) {
        let suspend = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
        for kind in
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), suspend]
        {
            // `nohup` asks for this one to be ignored.
            if kind == SignalKind::hangup() && crate::effect::ignores(kind.as_raw_value()) {
                continue;
            }
            let Ok(mut signals) = signal(kind) else { continue };
            let send = self.send.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    let input = if kind == suspend {
                        Input::Suspend
                    } else {
                        Input::Signal(kind.as_raw_value())
                    };
                    if send.send(input).is_err() {
                        break;
                    }
                }
            });
        }
    }

    /// Applies a fact; it becomes durable with the next commit, before anything acts on it.
    pub fn record(&mut self, fact: Fact) -> Result<(), JournalError> {
        let event = Event { number: self.state.head + 1, at: now(), fact };
        self.state
            .apply(&event)
            .map_err(|source| JournalError::Illegal { run: self.head.run.clone(), source })?;
        self.pending.push(event);
        Ok(())
    }

    pub fn is_running(&self, ix: StepIx, direction: Direction) -> bool {
        self.running.contains_key(&(ix, direction))
    }

    /// Begins a look at an attempt in doubt at once: it changes nothing, so nothing need be durable
    /// before it.
    pub fn commit_probe(&mut self) -> Result<(), JournalError> {
        self.commit()
    }

    pub fn id(&self, ix: StepIx) -> crate::runbook::StepId {
        Arc::clone(&self.state.runbook.step(ix).id)
    }
}

enum Next {
    Wait(Option<Instant>),
    Over(Exit),
}

/// The time now. The only clock of a run besides the deadlines above.
pub fn now() -> Moment {
    Moment(chrono::Utc::now().timestamp_millis())
}

/// Some chance: for ids and for spreading retries, not for secrets.
pub fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
