//! The task that owns one sandbox: it alone feeds events to its life, does
//! the work that follows, writes its record and says what it has become.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use engine::{Exit, Machine, MachineSpec};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use wire::clock::Clock;
use wire::guest::{Claim, GENERATION, NodeHello};
use wire::id::SandboxId;
use wire::node::{NodeError, NodeErrorCode, Observed, PutDeadline, StepTime};
use wire::sandbox::{Death, Reason, State};

use super::lifecycle::{Event, Life, Work};
use super::record::{Phase, Record};
use super::talk::Talk;
use crate::guest::Connection;
use crate::node::Node;
use crate::supervisor::{ending, stale};

/// A fresh agent has so long to listen and to be claimed.
const AGENT_START_BOUND: Duration = Duration::from_secs(30);
/// Of a machine whose agent is silent, a connection is asked for, which its kernel grants alone, within so long.
const DIAGNOSIS_BOUND: Duration = Duration::from_secs(5);
/// A machine whose agent fell silent has so long to be seen to have ended.
const EXIT_GRACE: Duration = Duration::from_millis(500);
/// How often a task looks at the clock, at least: a host that was suspended is noticed this late.
const CLOCK_TICK: Duration = Duration::from_secs(1);
/// Between two attempts to take down what would not go: doubled each time, up to the second.
const TEAR_DOWN_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Before a bring-up: its record is written.
const RECORDED: &str = "recorded";
/// The last step of a bring-up: the agent answers. What follows is called after the state that is reached.
const AGENT: &str = "agent";
/// Commands waiting for one task.
const MAILBOX_COMMANDS_MAX: usize = 64;
/// Below this share of a sandbox's memory, its agent starts to kill: one part in so many.
const MEMORY_RESERVE_PART: u64 = 32;
/// … but never with less left than this.
const MEMORY_RESERVE_BYTES_MIN: u64 = 24 * 1024 * 1024;

/// What others ask of a task.
#[derive(Debug)]
pub enum Command {
    /// End it for this reason.
    Delete(Reason),
    /// A newer wish has been seen.
    Generation(u64),
    /// The host could not keep what it wrote.
    DiskFailed {
        /// For want of room.
        full: bool,
        /// What was seen.
        evidence: String,
    },
    /// Its time is up at another moment than it was to be. Answered when the record says so.
    Deadline(PutDeadline, oneshot::Sender<Result<Observed, NodeError>>),
}

/// What others hold of a sandbox.
#[derive(Clone)]
pub struct Handle {
    task: AbortHandle,
    commands: mpsc::Sender<Command>,
    sight: watch::Receiver<Sight>,
    clock: Arc<dyn Clock>,
    guest: watch::Receiver<Option<Connection>>,
    /// Who talks to it.
    pub talk: Arc<Talk>,
    /// What it was made of, and what it takes of the node.
    pub record: Arc<Record>,
}

impl Handle {
    /// What it is now.
    pub fn observed(&self) -> Observed {
        self.sight.borrow().said(&*self.clock)
    }

    /// Stops the task where it stands, as a killed process would. The sandbox goes on without it.
    pub fn abandon(&self) {
        self.task.abort();
    }

    /// True if the task broke off, which is a fault of ours: nobody looks after the sandbox.
    pub fn is_abandoned(&self) -> bool {
        self.task.is_finished() && self.observed().state != State::Deleted
    }

    /// Asks the task; a task that has ended needs no asking.
    pub async fn send(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    /// Waits until what it is satisfies `settled`, and returns that; or what it last was, if the task ended.
    pub async fn wait(&self, settled: impl Fn(&Observed) -> bool) -> Observed {
        let mut sight = self.sight.clone();
        match sight.wait_for(|sight| settled(&sight.observed)).await {
            Ok(sight) => sight.said(&*self.clock),
            Err(_) => self.observed(),
        }
    }

    /// The connection to its agent, as soon as there is one; `None` when there will never be one again.
    pub async fn guest(&self) -> Option<Connection> {
        let mut guest = self.guest.clone();
        let connection = guest.wait_for(Option::is_some).await.ok()?;
        connection.clone()
    }
}

/// What a sandbox is, but for the moment its time is up, which is said by a clock that may be set meanwhile.
#[derive(Debug, Clone)]
struct Sight {
    observed: Observed,
    deadline_boot_ms: Option<u64>,
}

impl Sight {
    fn of(life: &Life, record: &Record, steps: &[StepTime]) -> Self {
        let observed = Observed {
            id: record.id.clone(),
            generation: record.generation,
            state: life.state(),
            death: life.death().cloned(),
            timeout_at_ms: None,
            steps: steps.to_vec(),
        };
        let deadline_boot_ms = match record.phase {
            Phase::Running { deadline_boot_ms } => Some(deadline_boot_ms),
            _ => None,
        };
        Self { observed, deadline_boot_ms }
    }

    /// In the words of this moment.
    fn said(&self, clock: &dyn Clock) -> Observed {
        let left = self.deadline_boot_ms.map(|deadline| deadline.saturating_sub(clock.boot_ms()));
        Observed { timeout_at_ms: left.map(|left| clock.wall_ms() + left), ..self.observed.clone() }
    }
}

/// Something under way that comes to a `T`.
type Doing<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a piece of work came to.
enum Outcome {
    Up { machine: Machine, connection: Connection, steps: Vec<StepTime> },
    Event(Event),
}

/// The owner of one sandbox.
pub struct Task {
    node: Arc<Node>,
    life: Life,
    record: Record,
    machine: Option<Machine>,
    steps: Vec<StepTime>,
    tear_downs: u32,
    sight: watch::Sender<Sight>,
    guest: watch::Sender<Option<Connection>>,
    talk: Arc<Talk>,
    /// A redial under way, after the agent's connection broke.
    redial: Option<Doing<Result<Connection, Event>>>,
    /// Completes when the agent is lost although its connection is not.
    pulse: Option<Doing<Event>>,
}

impl Task {
    /// Starts a sandbox whose record has just been written.
    pub fn begin(node: Arc<Node>, record: Record) -> Handle {
        let (life, work) = Life::begin();
        Self::spawn(node, record, life, None, Some(work))
    }

    /// A sandbox that was gone before this process began: nothing is left to do.
    pub fn rest(node: Arc<Node>, record: Record, death: Death) -> Handle {
        Self::spawn(node, record, Life::gone(death), None, None)
    }

    /// Takes over a sandbox that outlived an earlier process of ours.
    pub fn adopt(node: Arc<Node>, record: Record, machine: Machine) -> Handle {
        Self::spawn(node, record, Life::adopted(), Some(machine), None)
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
        let redial = machine.as_ref().map(|machine| redial(&node, machine, &record));
        let task = Self {
            sight: watch::channel(Sight::of(&life, &record, &[])).0,
            node,
            life,
            record,
            machine,
            steps: Vec::new(),
            tear_downs: 0,
            guest,
            talk: talk.clone(),
            redial,
            pulse: None,
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
                Some(bury(self.node.clone(), self.record.id.clone()))
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
                () = time_up(&*self.node.clock, &self.record.phase, self.life.state()) => Some(Event::TimeUp),
                () = quiet(&self.talk, self.node.doze_after), if self.life.state() == State::Running => {
                    self.talk.doze(|| self.node.engine.doze(&self.record.id));
                    None
                }
            };
            if let Some(event) = event {
                doing = self.apply(event).await.or(doing);
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
                self.hang_up();
                self.remember().await;
            }
            self.node.faults.reached(self.life.state().as_str()).await;
            self.publish();
        }
        work.map(|work| self.start(work))
    }

    fn start(&mut self, work: Work) -> Doing<Outcome> {
        match work {
            Work::BringUp | Work::Restore => Box::pin(bring_up(self.node.clone(), self.record.clone())),
            Work::Capture => Box::pin(std::future::ready(Outcome::Event(Event::CaptureFailed(
                "this engine cannot capture a machine".into(),
            )))),
            Work::TearDown => {
                let pause = tear_down_pause(self.tear_downs);
                self.tear_downs += 1;
                self.machine = None;
                Box::pin(tear_down(self.node.clone(), self.record.id.clone(), pause))
            }
        }
    }

    async fn finish(&mut self, outcome: Outcome) -> Option<Event> {
        match outcome {
            Outcome::Event(event) => Some(event),
            // A delete came first: it needs neither the machine nor the agent.
            Outcome::Up { .. } if self.life.death().is_some() => Some(Event::CameUp),
            Outcome::Up { machine, connection, steps } => {
                let timeout_ms = u64::from(self.record.spec.timeout_seconds) * 1000;
                self.record.phase =
                    Phase::Running { deadline_boot_ms: self.node.clock.boot_ms() + timeout_ms };
                // One that is not written down would be taken for half made by the next process, and buried.
                if let Err(error) = self.node.scribe.write(&self.record).await {
                    return Some(Event::BringUpFailed(format!("its record cannot be written: {error}")));
                }
                self.steps = steps;
                self.connected(&machine, connection);
                self.machine = Some(machine);
                Some(Event::CameUp)
            }
        }
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
        self.pulse = Some(pulse(self.node.clone(), machine.clone(), connection.clone()));
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
        let machine = self.machine.as_ref()?;
        tracing::info!(sandbox = %self.record.id, "the agent's connection broke; dialling again");
        self.redial = Some(redial(&self.node, machine, &self.record));
        None
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
            (_, Some(death)) => self.record.phase = Phase::Deleting { death: death.clone() },
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

async fn bring_up(node: Arc<Node>, record: Record) -> Outcome {
    // The semaphore is never closed, so an error cannot happen; without a permit it is merely slower.
    let _permit = node.bring_ups.acquire().await.ok();
    node.faults.reached(RECORDED).await;
    match try_bring_up(&node, &record).await {
        Ok(up) => up,
        Err(evidence) => {
            tracing::warn!(sandbox = %record.id, evidence, "bring-up failed");
            Outcome::Event(Event::BringUpFailed(evidence))
        }
    }
}

async fn try_bring_up(node: &Node, record: &Record) -> Result<Outcome, String> {
    let image = node.image(&record.spec.image).map_err(|error| error.message)?;
    let spec = MachineSpec { id: record.id.clone(), image, resources: record.spec.resources };
    let up = node.engine.up(&spec).await.map_err(|error| chain(&error))?;
    let began = std::time::Instant::now();
    let connection = dial(node, &up.machine, record, AGENT_START_BOUND).await?;
    node.faults.reached(AGENT).await;
    let mut steps = up.steps;
    steps.push(StepTime { step: AGENT.into(), micros: began.elapsed().as_micros() as u64 });
    Ok(Outcome::Up { machine: up.machine, connection, steps })
}

async fn dial(
    node: &Node,
    machine: &Machine,
    record: &Record,
    bound: Duration,
) -> Result<Connection, String> {
    let stream = node.engine.dial_agent(machine, bound).await.map_err(|error| chain(&error))?;
    let hello =
        NodeHello { generation: GENERATION, token: record.token.clone(), claim: Some(claim(node, record)) };
    let (connection, _) = Connection::open(stream, hello, bound).await.map_err(|error| chain(&error))?;
    Ok(connection)
}

fn claim(node: &Node, record: &Record) -> Claim {
    let memory_bytes = u64::from(record.spec.resources.memory_mib) * 1024 * 1024;
    Claim {
        hostname: record.id.to_string(),
        env: record.spec.env.clone(),
        user: record.spec.user.clone(),
        workdir: record.spec.workdir.clone(),
        processes_max: record.spec.resources.processes_max,
        memory_reserve_bytes: (memory_bytes / MEMORY_RESERVE_PART).max(MEMORY_RESERVE_BYTES_MIN),
        shims: node.engine.shims(),
    }
}

fn redial(node: &Arc<Node>, machine: &Machine, record: &Record) -> Doing<Result<Connection, Event>> {
    let (node, machine, record) = (node.clone(), machine.clone(), record.clone());
    Box::pin(async move {
        match dial(&node, &machine, &record, node.pulse.silence_max).await {
            Ok(connection) => Ok(connection),
            Err(evidence) => Err(diagnose(&node, &machine, evidence).await),
        }
    })
}

fn pulse(node: Arc<Node>, machine: Machine, connection: Connection) -> Doing<Event> {
    Box::pin(async move {
        let evidence = node.pulse.lost(&connection).await;
        diagnose(&node, &machine, evidence).await
    })
}

/// Who it was that fell silent: an engine that lives grants a connection even if its agent does not.
async fn diagnose(node: &Node, machine: &Machine, mut evidence: String) -> Event {
    if tokio::time::timeout(EXIT_GRACE, machine.exited()).await.is_ok() {
        // The agent is silent because its machine has ended: that is the cause to record.
        return pending().await;
    }
    let dialled = node.engine.dial_agent(machine, DIAGNOSIS_BOUND).await;
    let condition = node.engine.condition(&machine.id).await;
    if !condition.is_empty() {
        evidence.push_str("; ");
        evidence.push_str(&condition);
    }
    // The host may have killed a part of it that the rest now waits for.
    if node.engine.post_mortem(&machine.id).await.out_of_memory {
        return Event::EngineExited { out_of_memory: true, evidence };
    }
    match dialled {
        Err(engine::Error::Timeout { .. }) => {
            let evidence = format!("the sandbox's kernel does not answer: {evidence}");
            Event::EngineExited { out_of_memory: false, evidence }
        }
        _ => Event::AgentLost(evidence),
    }
}

/// Takes down what an earlier process left, a few sandboxes at a time.
fn bury(node: Arc<Node>, id: SandboxId) -> Doing<Outcome> {
    Box::pin(async move {
        // The semaphore is never closed, so an error cannot happen; without a permit it is merely sooner.
        let _permit = node.burials.acquire().await.ok();
        tear_down(node.clone(), id, Duration::ZERO).await
    })
}

async fn tear_down(node: Arc<Node>, id: SandboxId, pause: Duration) -> Outcome {
    tokio::time::sleep(pause).await;
    Outcome::Event(match node.engine.down(&id).await {
        Ok(()) => Event::TornDown,
        Err(error) => {
            let evidence = chain(&error);
            tracing::error!(sandbox = %id, evidence, "it could not be taken down; trying again");
            Event::TearDownFailed(evidence)
        }
    })
}

/// Completes when the sandbox's time is up; never, if it has no time or is not running.
async fn time_up(clock: &dyn Clock, phase: &Phase, state: State) {
    let Phase::Running { deadline_boot_ms } = *phase else { return pending().await };
    if state != State::Running {
        return pending().await;
    }
    loop {
        let left = deadline_boot_ms.saturating_sub(clock.boot_ms());
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(left).min(CLOCK_TICK)).await;
    }
}

/// Waits until nobody has talked for so long; for ever, if sandboxes are not to doze.
async fn quiet(talk: &Talk, long: Option<Duration>) {
    match long {
        Some(long) => talk.quiet(long).await,
        None => pending().await,
    }
}

/// None before the first attempt, then ever longer ones.
fn tear_down_pause(attempts: u32) -> Duration {
    let (first, longest) = TEAR_DOWN_PAUSE;
    match attempts.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => first.saturating_mul(1 << doublings.min(16)).min(longest),
    }
}

/// Drives what is under way; for ever, if nothing is.
async fn finished<T>(doing: &mut Option<Doing<T>>) -> T {
    match doing {
        Some(future) => {
            let result = future.await;
            *doing = None;
            result
        }
        None => pending().await,
    }
}

async fn ended(machine: &Option<Machine>) -> Exit {
    match machine {
        Some(machine) => machine.exited().await,
        None => pending().await,
    }
}

async fn disconnected(guest: &watch::Sender<Option<Connection>>) {
    let connection = guest.borrow().clone();
    match connection {
        Some(connection) => connection.closed().await,
        None => pending().await,
    }
}

/// An error and all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_downs_are_repeated_at_once_and_then_ever_more_patiently() {
        assert_eq!(tear_down_pause(0), Duration::ZERO);
        assert_eq!(tear_down_pause(1), TEAR_DOWN_PAUSE.0);
        assert_eq!(tear_down_pause(2), TEAR_DOWN_PAUSE.0 * 2);
        assert_eq!(tear_down_pause(99), TEAR_DOWN_PAUSE.1);
    }
}
