//! The task that owns one sandbox: it alone feeds events to its life, does
//! the work that follows, writes its record and says what it has become.

mod pausing;
mod snapshots;

use std::sync::Arc;
use std::time::Instant;

use engine::{Exit, Machine};
use tokio::sync::{mpsc, watch};
use wire::node::{NodeError, NodeErrorCode, Observed, PutDeadline, StepTime};
use wire::sandbox::{Death, State};

use super::boot::boot;
use super::bring_up::{Up, bring_up, restore};
use super::capture::{Aim, Captured, NotCaptured, capture, release};
use super::diagnosis::pulse;
use super::dial::redial;
use super::handle::{Command, Handle, Sight, SnapshotAnswer};
use super::lifecycle::{Event, Life, Plan, Work, is_planned};
use super::orders::Orders;
use super::record::{Phase, Record};
use super::stop::{Farewell, stop, stop_signal};
use super::talk::Talk;
use super::tear_down::{bury, tear_down};
use super::waits::{Doing, disconnected, ended, finished, quiet, time_up};
use crate::guest::Connection;
use crate::node::Node;
use crate::supervisor::{ending, stale};

/// Commands waiting for one task.
const MAILBOX_COMMANDS_MAX: usize = 64;

/// What a piece of work came to.
enum Outcome {
    Up(Up),
    Booted(StepTime),
    Captured(Result<Captured, NotCaptured>),
    Event(Event),
}

/// The owner of one sandbox.
pub struct Task {
    node: Arc<Node>,
    life: Life,
    record: Record,
    machine: Option<Machine>,
    steps: Vec<StepTime>,
    release_began: Instant,
    tear_downs: u32,
    /// Who waits for a pause or a wake.
    orders: Orders,
    /// What becomes of it when it is captured.
    aim: Aim,
    /// Who waits for the snapshot that is being taken.
    snapshot: Option<SnapshotAnswer>,
    sight: watch::Sender<Sight>,
    guest: watch::Sender<Option<Connection>>,
    talk: Arc<Talk>,
    /// A redial under way, after the agent's connection broke.
    redial: Option<Doing<Result<Connection, Event>>>,
    /// Completes when the agent is lost although its connection is not.
    pulse: Option<Doing<Event>>,
    /// The connection of one that is asked to stop, or to be paused.
    farewell: Option<Farewell>,
}

impl Task {
    /// Starts a sandbox whose record has just been written.
    pub fn begin(node: Arc<Node>, record: Record) -> Handle {
        let (life, work) = Life::begin(plan(&record));
        Self::spawn(node, record, life, None, Some(work))
    }

    /// A sandbox that was gone before this process began: nothing is left to do.
    pub fn rest(node: Arc<Node>, record: Record, death: Death) -> Handle {
        Self::spawn(node, record, Life::gone(death), None, None)
    }

    /// Takes over a sandbox that outlived an earlier process of ours.
    pub fn adopt(node: Arc<Node>, record: Record, machine: Machine) -> Handle {
        let plan = plan(&record);
        let (life, work) = match record.phase {
            Phase::Booting { .. } => Life::booting(plan),
            _ => (Life::adopted(plan), None),
        };
        Self::spawn(node, record, life, Some(machine), work)
    }

    /// A sandbox that was paused before this process began. What else there is of it goes.
    pub fn paused(node: Arc<Node>, record: Record) -> Handle {
        let (life, work) = Life::paused(plan(&record));
        Self::spawn(node, record, life, None, work)
    }

    /// Cleans up after a sandbox that did not, when its turn comes: there may be thousands.
    pub fn bury(node: Arc<Node>, record: Record, death: Death) -> Handle {
        let (life, work) = Life::lost(death);
        Self::spawn(node, record, life, None, Some(work))
    }

    fn spawn(
        node: Arc<Node>,
        record: Record,
        life: Life,
        machine: Option<Machine>,
        work: Option<Work>,
    ) -> Handle {
        let (commands, mailbox) = mpsc::channel(MAILBOX_COMMANDS_MAX);
        let (guest, guest_seen) = watch::channel(None);
        let talk = Talk::new(machine.is_some());
        let redial = machine.clone().map(|machine| redial(node.clone(), machine, record.clone()));
        let task = Self {
            sight: watch::channel(Sight::of(&life, &record, &[])).0,
            node,
            life,
            record,
            machine,
            steps: Vec::new(),
            release_began: Instant::now(),
            tear_downs: 0,
            orders: Orders::default(),
            aim: Aim::default(),
            snapshot: None,
            guest,
            talk: talk.clone(),
            redial: redial.map(|redial| Box::pin(redial) as Doing<_>),
            pulse: None,
            farewell: None,
        };
        task.publish();
        let (sight, clock) = (task.sight.subscribe(), task.node.clock.clone());
        let record = Arc::new(task.record.clone());
        let task = tokio::spawn(task.run(mailbox, work)).abort_handle();
        Handle { task, commands, sight, clock, guest: guest_seen, talk, record }
    }

    /// A record that this finds written is as it should be, but for one of a death.
    async fn run(mut self, mut mailbox: mpsc::Receiver<Command>, work: Option<Work>) {
        let mut doing = match work {
            Some(Work::TearDown) => {
                self.remember().await;
                self.tear_downs += 1;
                let bury = bury(self.node.clone(), self.record.id.clone(), self.record.kept);
                Some(Box::pin(async { Outcome::Event(bury.await) }) as Doing<_>)
            }
            work => work.map(|work| self.start(work)),
        };
        while !(self.life.state() == State::Deleted && doing.is_none()) {
            let event = tokio::select! {
                result = finished(&mut doing) => self.finish(result).await,
                Some(command) = mailbox.recv() => self.command(command).await,
                exit = ended(&self.machine) => Some(self.exited(exit)),
                result = finished(&mut self.redial) => self.redialled(result),
                event = finished(&mut self.pulse) => Some(event),
                () = disconnected(&self.guest), if self.redial.is_none() => self.disconnected(),
                () = time_up(&*self.node.clock, &self.record.phase, self.life.state()) => self.time_up(),
                () = quiet(&self.talk, self.node.doze_after), if self.life.state() == State::Running => {
                    self.talk.doze(|| self.node.engine.doze(&self.record.id));
                    None
                }
            };
            if let Some(event) = event {
                doing = self.apply(event).await.or(doing);
            }
            if self.life.state() == State::Running && self.orders.is_now_later() {
                doing = self.apply(Event::Capture).await.or(doing);
            }
        }
    }

    /// Feeds one event to the life, and starts what follows from it.
    async fn apply(&mut self, event: Event) -> Option<Doing<Outcome>> {
        tracing::debug!(sandbox = %self.record.id, state = %self.life.state(), ?event, "event");
        let (life, work) = self.life.clone().step(event);
        let changed = life.state() != self.life.state();
        self.life = life;
        if changed {
            if self.life.state() != State::Running {
                let parts = matches!(work, Some(Work::Stop | Work::Capture));
                let last = if parts { self.guest.send_replace(None) } else { None };
                self.farewell = last.map(Farewell);
                self.hang_up();
                // Of one that is paused all is written, and a wake changes it when it is done.
                if !matches!(self.life.state(), State::Paused | State::Unpausing) {
                    self.remember().await;
                }
            } else if self.guest.borrow().is_none() {
                // It was to be paused, and goes on.
                self.dial_again();
            }
            self.node.faults.reached(self.life.state().as_str()).await;
            let observed = self.publish();
            self.orders.answer(&observed);
        }
        work.map(|work| self.start(work))
    }

    fn start(&mut self, work: Work) -> Doing<Outcome> {
        let (node, record, talk) = (self.node.clone(), self.record.clone(), self.talk.clone());
        match work {
            Work::BringUp => Box::pin(async { up(bring_up(node, record).await) }),
            Work::Restore => Box::pin(async { up(restore(node, record).await) }),
            Work::Boot => {
                let guest = self.guest.subscribe();
                Box::pin(async {
                    let booted = boot(node, record, guest, talk).await;
                    booted
                        .map_or_else(|evidence| Outcome::Event(Event::BootFailed(evidence)), Outcome::Booted)
                })
            }
            Work::Capture => {
                let (machine, farewell, aim) = (self.machine.clone(), self.farewell.take(), self.aim);
                Box::pin(async move {
                    Outcome::Captured(capture(node, record, machine, farewell, talk, aim).await)
                })
            }
            Work::Release => {
                let attempts = self.tear_downs;
                self.tear_downs += 1;
                self.machine = None;
                self.release_began = Instant::now();
                Box::pin(async move { Outcome::Event(release(node, record.id, attempts).await) })
            }
            Work::Stop => {
                let farewell = self.farewell.take();
                Box::pin(async move {
                    if let (Some(farewell), Some(signal)) = (farewell, stop_signal(&record.spec)) {
                        stop(node, record.id, signal, farewell, talk).await;
                    }
                    Outcome::Event(Event::Stopped)
                })
            }
            Work::TearDown => {
                let attempts = self.tear_downs;
                self.tear_downs += 1;
                self.machine = None;
                Box::pin(
                    async move { Outcome::Event(tear_down(node, record.id, record.kept, attempts).await) },
                )
            }
        }
    }

    async fn finish(&mut self, outcome: Outcome) -> Option<Event> {
        match outcome {
            Outcome::Event(event) => {
                self.note(&event);
                Some(event)
            }
            Outcome::Captured(captured) => Some(self.captured(captured).await),
            // A delete came first: it needs neither the machine nor the agent.
            Outcome::Up(_) if self.life.death().is_some() => Some(Event::CameUp),
            Outcome::Up(up) => Some(self.came_up(up).await),
            Outcome::Booted(step) => {
                self.steps.push(step);
                let entered = self.enter(self.running()).await;
                Some(entered.map_or_else(Event::BootFailed, |()| Event::Booted))
            }
        }
    }

    async fn came_up(&mut self, up: Up) -> Event {
        let boots = self.life.state() == State::Starting && plan(&self.record).boots;
        let since_boot_ms = self.node.clock.boot_ms();
        let wakes = self.life.state() == State::Unpausing;
        let phase = if boots { Phase::Booting { since_boot_ms } } else { self.running() };
        self.record.boot_id.clone_from(&self.node.boot_id);
        self.record.token.clone_from(&up.token);
        if let Err(evidence) = self.enter(phase).await {
            return if wakes { self.sleep_on(evidence).await } else { Event::BringUpFailed(evidence) };
        }
        self.steps = up.steps;
        self.connected(&up.machine, up.connection);
        self.machine = Some(up.machine);
        Event::CameUp
    }

    /// Its time begins now.
    fn running(&self) -> Phase {
        let timeout_ms = u64::from(self.record.spec.timeout_seconds) * 1000;
        Phase::Running { deadline_boot_ms: self.node.clock.boot_ms() + timeout_ms }
    }

    /// Writes down how far it came. One of which that is not written would be taken for less far by the next process.
    async fn enter(&mut self, phase: Phase) -> Result<(), String> {
        self.record.phase = phase;
        let written = self.node.scribe.write(&self.record).await;
        written.map_err(|error| format!("its record cannot be written: {error}"))
    }

    async fn command(&mut self, command: Command) -> Option<Event> {
        match command {
            Command::Delete(reason) => Some(Event::Delete(reason)),
            Command::Generation(generation) => {
                self.record.generation = self.record.generation.max(generation);
                self.remember().await;
                self.publish();
                None
            }
            Command::Deadline(put, answer) => {
                // Whoever asked may have gone; what is written holds all the same.
                let _ = answer.send(self.put_deadline(&put).await);
                None
            }
            Command::Pause(order, answer) => self.pause(&order, answer).await,
            Command::Snapshot(order, answer) => self.snapshot(&order, answer),
            Command::Wake(order, answer) => self.wake(&order, answer).await,
            Command::DiskFailed { full, evidence } => Some(Event::DiskFailed { full, evidence }),
        }
    }

    /// Ends it at another moment than planned. What the record does not say has not happened: the next process would
    /// not know it.
    async fn put_deadline(&mut self, put: &PutDeadline) -> Result<Observed, NodeError> {
        let sight = Sight::of(&self.life, &self.record, &self.steps).said(&*self.node.clock);
        if put.generation < self.record.generation {
            return Err(stale(put.generation, self.record.generation));
        }
        if self.life.state() != State::Running {
            return Err(ending(&sight));
        }
        if put.generation == self.record.generation {
            return Ok(sight);
        }
        let deadline_boot_ms = self.node.clock.boot_ms().saturating_add(put.ends_in_ms);
        let mut record = self.record.clone();
        record.generation = put.generation;
        record.phase = Phase::Running { deadline_boot_ms };
        self.node.scribe.write(&record).await.map_err(|error| {
            NodeError::new(NodeErrorCode::Internal, format!("its record cannot be written: {error}"))
        })?;
        self.record = record;
        Ok(self.publish())
    }

    fn exited(&mut self, exit: Exit) -> Event {
        self.machine = None;
        Event::EngineExited { out_of_memory: exit.out_of_memory, evidence: exit.evidence }
    }

    fn connected(&mut self, machine: &Machine, connection: Connection) {
        self.pulse = Some(Box::pin(pulse(self.node.clone(), machine.clone(), connection.clone())));
        self.guest.send_replace(Some(connection));
    }

    /// Whoever still waits for a word from inside is told that none comes: the kernel of a machine that was killed says
    /// nothing, and TCP would wait for it.
    fn hang_up(&mut self) {
        if let Some(connection) = self.guest.send_replace(None) {
            connection.close();
        }
        (self.redial, self.pulse) = (None, None);
    }

    fn disconnected(&mut self) -> Option<Event> {
        self.hang_up();
        tracing::info!(sandbox = %self.record.id, "the agent's connection broke; dialling again");
        self.dial_again();
        None
    }

    fn dial_again(&mut self) {
        let redial = |machine| redial(self.node.clone(), machine, self.record.clone());
        self.redial = self.machine.clone().map(|machine| Box::pin(redial(machine)) as Doing<_>);
    }

    fn redialled(&mut self, result: Result<Connection, Event>) -> Option<Event> {
        self.redial = None;
        match (result, self.machine.clone()) {
            (Ok(connection), Some(machine)) => {
                self.connected(&machine, connection);
                None
            }
            (Ok(_), None) => None,
            (Err(event), _) => Some(event),
        }
    }

    /// Brings the record up to the life.
    async fn remember(&mut self) {
        match (self.life.state(), self.life.death()) {
            (State::Deleted, Some(death)) => {
                self.record.phase =
                    Phase::Deleted { death: death.clone(), at_wall_ms: self.node.clock.wall_ms() };
            }
            (_, Some(death)) => {
                self.record.phase = Phase::Deleting { death: death.clone() };
                if !is_planned(death.reason) {
                    self.record.leaves = self.record.leaves.or(self.record.kept.take());
                }
            }
            (State::Snapshotting, None) => {
                if let Phase::Running { deadline_boot_ms } = self.record.phase {
                    self.record.phase = Phase::Pausing { deadline_boot_ms };
                }
            }
            (_, None) => {}
        }
        if let Err(error) = self.node.scribe.write(&self.record).await {
            // The old record still names the sandbox, so nothing of it can be lost sight of.
            tracing::error!(sandbox = %self.record.id, %error, "its record cannot be written");
        }
    }

    fn publish(&self) -> Observed {
        let sight = Sight::of(&self.life, &self.record, &self.steps);
        let observed = sight.said(&*self.node.clock);
        self.sight.send_replace(sight);
        self.node.changed(observed.clone());
        observed
    }
}

fn plan(record: &Record) -> Plan {
    Plan {
        // What goes on has begun.
        boots: record.spec.boot.is_some() && record.spec.from.is_none(),
        stops: stop_signal(&record.spec).is_some(),
        auto_pause: record.spec.auto_pause,
    }
}

fn up(made: Result<Up, String>) -> Outcome {
    made.map_or_else(|evidence| Outcome::Event(Event::BringUpFailed(evidence)), Outcome::Up)
}
