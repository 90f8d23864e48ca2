//! Who is here: finds or starts the one task that owns an id, admits or
//! refuses newcomers, and takes over what an earlier process left.

mod pauses;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use wire::id::SandboxId;
use wire::image::Digest;
use wire::node::{
    Capacity, DeleteSandbox, Leak, NodeError, NodeErrorCode, Observed, PruneImages, Pruned, PutDeadline,
    PutSandbox, SandboxSpec,
};
use wire::sandbox::{Death, Reason, State};

use crate::capacity::{admit, demand, plus};
use crate::graves::Graves;
use crate::guest::Connection;
use crate::leaks;
use crate::node::Node;
use crate::sandbox::handle::{Command, Handle};
use crate::sandbox::record::{Phase, Record};
use crate::sandbox::talk::Talking;
use crate::sandbox::task::Task;

/// A `PUT` waits so long for its sandbox to run or die, and for what it starts with as long as that may take.
const SETTLE_BOUND: Duration = Duration::from_secs(60);
/// A `DELETE` waits so long for its sandbox to be gone; after that it is surely going.
const DELETE_BOUND: Duration = Duration::from_secs(30);
/// A request for a sandbox that is coming up waits so long for its agent.
const GUEST_BOUND: Duration = Duration::from_secs(60);
/// A request for one that is paused waits so long for it to be woken; less than control waits for its answer.
const ASLEEP_BOUND: Duration = Duration::from_secs(20);
/// The record of a sandbox nobody asked about is kept so long after its end.
const TOMBSTONE_MS: u64 = 60 * 60 * 1000;
/// Between two sweeps of such records.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// The disk may take so long to take the record of a new sandbox.
const RECORD_BOUND: Duration = Duration::from_secs(20);
/// Between two looks at how full the disk is.
const ROOM_INTERVAL: Duration = Duration::from_secs(2);
/// Looks at the disks of sandboxes after one that found little room; with enough, one look in so many.
const DISK_LOOKS: u32 = 15;
/// Between two looks at the host for what nobody owns.
const REAP_INTERVAL: Duration = Duration::from_secs(60);
/// Strangers taken down at once.
const REAPERS_MAX: usize = 4;

/// The sandboxes of a node.
pub struct Supervisor {
    /// What their tasks share.
    pub node: Arc<Node>,
    capacity: Capacity,
    handles: Mutex<BTreeMap<SandboxId, Handle>>,
    graves: Mutex<Graves>,
    attending: tokio::sync::Mutex<()>,
    admitting: tokio::sync::Mutex<()>,
    /// Those that are paused and have a place to wake up in; once for each who waits for that.
    waking: Mutex<Vec<SandboxId>>,
    /// What it does by itself, every now and then.
    chores: Mutex<Vec<AbortHandle>>,
}

impl Supervisor {
    /// Takes over what an earlier process left: what still runs is adopted, what does not is cleaned up
    /// behind the open door.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn open(node: Arc<Node>, capacity: Capacity) -> io::Result<Arc<Self>> {
        let supervisor = Arc::new(Self {
            node,
            capacity,
            handles: Mutex::default(),
            graves: Mutex::default(),
            attending: tokio::sync::Mutex::default(),
            admitting: tokio::sync::Mutex::default(),
            waking: Mutex::default(),
            chores: Mutex::default(),
        });
        for record in supervisor.node.records.load()? {
            let id = record.id.clone();
            let handle = supervisor.take_over(record).await;
            supervisor.lock().insert(id, handle);
        }
        let chores = [
            tokio::spawn(reap_for_ever(Arc::downgrade(&supervisor))),
            tokio::spawn(sweep(Arc::downgrade(&supervisor))),
            tokio::spawn(watch_disks(Arc::downgrade(&supervisor))),
        ];
        supervisor.chores().extend(chores.map(|chore| chore.abort_handle()));
        Ok(supervisor)
    }

    async fn take_over(&self, record: Record) -> Handle {
        let node = self.node.clone();
        let death = match &record.phase {
            Phase::Deleted { death, .. } => {
                let death = death.clone();
                return Task::rest(node, record, death);
            }
            Phase::Deleting { death } => death.clone(),
            Phase::Paused => return Task::paused(node, record),
            _ if record.boot_id != node.boot_id => {
                let evidence =
                    format!("it ran in boot {} of the host, and this is {}", record.boot_id, node.boot_id);
                died(Reason::HostRestarted, &evidence)
            }
            Phase::Starting => died(Reason::CreateFailed, "the node was restarted while it was coming up"),
            Phase::Pausing { deadline_boot_ms } => {
                return self.go_on(record.clone(), *deadline_boot_ms).await;
            }
            Phase::Booting { .. } | Phase::Running { .. } => match node.engine.find(&record.id).await {
                Ok(Some(machine)) => return Task::adopt(node, record, machine),
                Ok(None) => died_unwatched(node.engine.post_mortem(&record.id).await),
                Err(error) => died(Reason::EngineLost, &wire::causes::chain(&error)),
            },
        };
        Task::bury(node, record, death)
    }

    /// One whose pause was cut short runs on, if it still does.
    async fn go_on(&self, mut record: Record, deadline_boot_ms: u64) -> Handle {
        let node = self.node.clone();
        let found = match node.engine.find(&record.id).await {
            Ok(Some(machine)) => node.engine.resume(&record.id).await.map(|()| Some(machine)),
            found => found,
        };
        let evidence = match found {
            Ok(Some(machine)) => {
                record.phase = Phase::Running { deadline_boot_ms };
                return Task::adopt(node, record, machine);
            }
            Ok(None) => node.engine.post_mortem(&record.id).await.evidence,
            Err(error) => wire::causes::chain(&error),
        };
        let evidence = format!("the node was restarted while it was being paused: {evidence}");
        Task::bury(node, record, died(Reason::CheckpointFailed, &evidence))
    }

    /// Makes a sandbox what it should be, and returns what it is once that is settled.
    ///
    /// # Errors
    /// [`NodeErrorCode::Stale`], [`NodeErrorCode::NoCapacity`], [`NodeErrorCode::StorageFull`],
    /// [`NodeErrorCode::NotFound`] for an image this node does not have, [`NodeErrorCode::Timeout`].
    pub async fn put(&self, id: SandboxId, put: PutSandbox) -> Result<Observed, NodeError> {
        self.attend(&id).await;
        if self.get(&id).is_none() {
            self.check_origin(&put.spec).await?;
        }
        let begun = tokio::time::timeout(RECORD_BOUND, self.find_or_begin(&id, &put)).await;
        let handle = begun.map_err(|_| slow_record())??;
        handle.send(Command::Generation(put.generation)).await;
        let settled =
            handle.wait(|observed| !is_transition(observed.state) && observed.state != State::Deleting);
        bounded(SETTLE_BOUND + handle.record.spec.ready_wait(), settled).await
    }

    async fn find_or_begin(&self, id: &SandboxId, put: &PutSandbox) -> Result<Handle, NodeError> {
        // One newcomer at a time; everybody else is served meanwhile, even while the disk takes its time.
        let _one_at_a_time = self.admitting.lock().await;
        if let Some(handle) = self.get(id) {
            let seen = handle.observed().generation;
            return if put.generation < seen { Err(stale(put.generation, seen)) } else { Ok(handle) };
        }
        self.check_grave(id, put)?;
        self.node.image(&put.spec.image)?;
        admit(self.capacity, self.used(), demand(&put.spec))?;
        self.node.room.check()?;
        let record = Record::new(
            id.clone(),
            put.generation,
            put.spec.clone(),
            random_hex()?,
            self.node.boot_id.clone(),
        );
        // Before anything else happens: what is on the host can be found and undone from here on.
        self.node.scribe.write_first(&record).await.map_err(unwritten)?;
        let begun = self.begin(put, record);
        if begun.is_err() {
            let _ = self.node.scribe.remove(id).await;
        }
        begun
    }

    /// Starts the task of a sandbox whose record is written, unless it was deleted meanwhile.
    fn begin(&self, put: &PutSandbox, record: Record) -> Result<Handle, NodeError> {
        // Whoever deletes digs the grave first and looks here then.
        let mut handles = self.lock();
        let id = record.id.clone();
        self.check_grave(&id, put)?;
        let handle = Task::begin(self.node.clone(), record);
        handles.insert(id, handle.clone());
        Ok(handle)
    }

    fn check_grave(&self, id: &SandboxId, put: &PutSandbox) -> Result<(), NodeError> {
        if self.graves().newest(id).is_some_and(|newest| put.generation <= newest) {
            return Err(NodeError::new(NodeErrorCode::Stale, "the sandbox was deleted since"));
        }
        Ok(())
    }

    /// Changes when a sandbox that runs is to end.
    ///
    /// # Errors
    /// [`NodeErrorCode::NotFound`], [`NodeErrorCode::Stale`], [`NodeErrorCode::WrongState`] when it does not run,
    /// [`NodeErrorCode::Internal`] when its record cannot be written, [`NodeErrorCode::Timeout`].
    pub async fn put_deadline(&self, id: &SandboxId, put: PutDeadline) -> Result<Observed, NodeError> {
        self.attend(id).await;
        let handle = self.get(id).ok_or_else(|| not_found(id))?;
        let (answer, answered) = oneshot::channel();
        handle.send(Command::Deadline(put, answer)).await;
        // A task that has ended answers nothing: its sandbox has, too.
        let answered = bounded(SETTLE_BOUND, answered).await?;
        answered.unwrap_or_else(|_| Err(ending(&handle.observed())))
    }

    /// Ends a sandbox and returns once nothing of it is left, or once that is only a matter of time.
    pub async fn delete(&self, id: &SandboxId, delete: DeleteSandbox) -> Observed {
        // From here on no order that is older brings it back, not even to a node that has never seen it.
        self.graves().dig(id, delete.generation);
        self.attend(id).await;
        let Some(handle) = self.get(id) else { return never_seen(id.clone(), delete) };
        handle.send(Command::Delete(delete.reason)).await;
        let gone = handle.wait(|observed| observed.state == State::Deleted);
        let observed = match bounded(DELETE_BOUND, gone).await {
            Ok(observed) => observed,
            Err(_) => handle.observed(),
        };
        if observed.state == State::Deleted {
            let _ = tokio::time::timeout(RECORD_BOUND, self.forget(id)).await;
        }
        observed
    }

    /// What a sandbox is.
    pub fn observed(&self, id: &SandboxId) -> Option<Observed> {
        self.get(id).map(|handle| handle.observed())
    }

    /// What each sandbox is.
    pub fn all_observed(&self) -> Vec<Observed> {
        self.lock().values().map(Handle::observed).collect()
    }

    /// The connection to a sandbox's agent, waiting for it to come up. The sandbox does not doze while the
    /// second part lives.
    ///
    /// # Errors
    /// [`NodeErrorCode::NotFound`], [`NodeErrorCode::Asleep`], [`NodeErrorCode::WrongState`] when it is ending,
    /// [`NodeErrorCode::Timeout`].
    pub async fn guest(&self, id: &SandboxId) -> Result<(Connection, Talking), NodeError> {
        self.attend(id).await;
        let handle = self.get(id).ok_or_else(|| not_found(id))?;
        let connection = async {
            tokio::select! {
                connection = handle.guest() => connection,
                _ = handle.wait(|observed| !may_serve(observed.state)) => None,
            }
        };
        let talking = handle.talk.begin(|| self.node.engine.wake(id));
        if let Some(connection) = bounded(GUEST_BOUND, connection).await? {
            return Ok((connection, talking));
        }
        if handle.observed().state != State::Paused {
            return Err(ending(&handle.observed()));
        }
        // Paused since whoever asks looked: control is told, and wakes it, if that may be.
        self.node.changed(Observed { is_wanted: true, ..handle.observed() });
        let woken = tokio::time::timeout(ASLEEP_BOUND, handle.guest()).await.ok().flatten();
        woken.map(|connection| (connection, talking)).ok_or_else(asleep)
    }

    /// What others hold of a sandbox, if it is here.
    pub(crate) async fn find(&self, id: &SandboxId) -> Option<Handle> {
        self.attend(id).await;
        self.get(id)
    }

    /// Removes images and layers that neither control nor a sandbox of this node needs, or says which those would be.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn prune(&self, order: &PruneImages) -> Result<Pruned, artifact::Error> {
        // While this is held, nobody begins a sandbox.
        let handles = self.lock();
        let alive = handles.values().filter(|handle| handle.observed().state != State::Deleted);
        let mut needed: BTreeSet<Digest> = order.keep.iter().cloned().collect();
        needed.extend(alive.map(|handle| handle.record.spec.image.clone()));
        let idle = Duration::from_secs(order.idle_seconds_min);
        let taken = self.node.puller.take_away(&needed, idle, order.dry_run)?;
        drop(handles);
        Ok(taken.free())
    }

    /// What is promised to sandboxes, and what there is.
    pub fn capacity(&self) -> (Capacity, Capacity) {
        (self.capacity, self.used())
    }

    /// The record of a sandbox, for people.
    pub fn record(&self, id: &SandboxId) -> Option<Arc<Record>> {
        self.get(id).map(|handle| handle.record)
    }

    /// Resources on the host whose sandbox is gone. Listed twice: what is in both lists is no passing moment.
    ///
    /// # Errors
    /// When the engine cannot list what it owns.
    pub async fn leaks(&self) -> Result<Vec<Leak>, engine::Error> {
        let first = leaks::of(self.node.engine.owned().await?, |id| self.is_alive(id));
        if first.is_empty() {
            return Ok(first);
        }
        let second = leaks::of(self.node.engine.owned().await?, |id| self.is_alive(id));
        Ok(leaks::in_both(first, &second))
    }

    /// Deletes everything, and returns when it is gone.
    pub async fn delete_all(self: &Arc<Self>) {
        let ids: Vec<_> = self.lock().keys().cloned().collect();
        let mut deletes = JoinSet::new();
        for id in ids {
            let supervisor = self.clone();
            deletes.spawn(async move {
                let delete = DeleteSandbox { generation: u64::MAX, reason: Reason::Deleted };
                supervisor.delete(&id, delete).await;
            });
        }
        deletes.join_all().await;
    }

    /// Lets go of every sandbox as a killed process would: they go on, and are found again. Whoever cleans up goes first,
    /// to whom what nobody holds is a leak.
    pub fn abandon(&self) {
        self.chores().iter().for_each(AbortHandle::abort);
        let mut handles = self.lock();
        handles.values().for_each(Handle::abandon);
        handles.clear();
    }

    /// Stops the task of one sandbox where it stands, as a fault of ours would.
    pub fn break_off(&self, id: &SandboxId) {
        self.get(id).iter().for_each(Handle::abandon);
    }

    /// Sees to it that a sandbox has a task: one whose task broke off is taken over, as after a restart.
    async fn attend(&self, id: &SandboxId) {
        if !self.get(id).is_some_and(|handle| handle.is_abandoned()) {
            return;
        }
        let _one_at_a_time = self.attending.lock().await;
        let Some(handle) = self.get(id).filter(Handle::is_abandoned) else { return };
        tracing::error!(sandbox = %id, "its task broke off; it is taken over");
        let record = self.node.records.read(id).unwrap_or_else(|_| Record::clone(&handle.record));
        let handle = self.take_over(record).await;
        self.lock().insert(id.clone(), handle);
    }

    async fn end_those_without_a_disk(&self, full: bool) {
        for (id, seen) in self.node.engine.failed_disks().await {
            let Some(handle) = self.get(&id) else { continue };
            let shortage = self.node.room.shortage();
            let shortage = shortage.map(|shortage| format!("; {shortage}")).unwrap_or_default();
            let evidence = format!("the host could not keep what was written inside: {seen}{shortage}");
            tracing::error!(sandbox = %id, evidence, "its disk failed");
            handle.send(Command::DiskFailed { full, evidence }).await;
        }
    }

    fn is_alive(&self, id: &SandboxId) -> bool {
        self.observed(id).is_some_and(|observed| observed.state != State::Deleted)
    }

    fn get(&self, id: &SandboxId) -> Option<Handle> {
        self.lock().get(id).cloned()
    }

    /// Drops the record of a sandbox that is gone.
    async fn forget(&self, id: &SandboxId) {
        self.lock().remove(id);
        if let Err(error) = self.node.scribe.remove(id).await {
            tracing::warn!(sandbox = %id, %error, "its record cannot be removed");
        }
    }

    async fn forget_the_long_dead(&self) {
        let now = self.node.clock.wall_ms();
        for record in self.node.records.load().unwrap_or_default() {
            if matches!(record.phase, Phase::Deleted { at_wall_ms, .. } if at_wall_ms + TOMBSTONE_MS < now) {
                self.forget(&record.id).await;
            }
        }
    }

    fn chores(&self) -> MutexGuard<'_, Vec<AbortHandle>> {
        self.chores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn graves(&self) -> MutexGuard<'_, Graves> {
        self.graves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SandboxId, Handle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes down what is on the host of sandboxes that are not alive, at once and then every now and then.
async fn reap_for_ever(supervisor: std::sync::Weak<Supervisor>) {
    while let Some(supervisor) = supervisor.upgrade() {
        reap(&supervisor).await;
        drop(supervisor);
        tokio::time::sleep(REAP_INTERVAL).await;
    }
}

async fn reap(supervisor: &Supervisor) {
    let leaks = match supervisor.leaks().await {
        Ok(leaks) => leaks,
        Err(error) => return tracing::error!(%error, "the host's resources cannot be listed"),
    };
    supervisor.node.saw_leaks(leaks::count(&leaks));
    let owners: BTreeSet<SandboxId> = leaks.iter().filter_map(|leak| leak.owner.clone()).collect();
    let mut reapers = JoinSet::new();
    for owner in owners {
        if reapers.len() >= REAPERS_MAX {
            reapers.join_next().await;
        }
        let node = supervisor.node.clone();
        let of_owner = leaks.iter().filter(|leak| leak.owner.as_ref() == Some(&owner));
        let left: Vec<String> = of_owner.map(|leak| format!("{} {}", leak.kind, leak.name)).collect();
        reapers.spawn(async move {
            tracing::warn!(sandbox = %owner, ?left, "cleaning up after a sandbox without a record");
            if let Err(error) = node.engine.down(&owner).await {
                tracing::error!(sandbox = %owner, %error, "it could not be taken down");
            }
        });
    }
    reapers.join_all().await;
    if let Ok(leaks) = supervisor.leaks().await {
        supervisor.node.saw_leaks(leaks::count(&leaks));
    }
}

async fn sweep(supervisor: std::sync::Weak<Supervisor>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        match supervisor.upgrade() {
            Some(supervisor) => supervisor.forget_the_long_dead().await,
            None => return,
        }
    }
}

/// Ends sandboxes whose disk the host could not keep: what they read is not what they wrote, and nothing tells them.
async fn watch_disks(supervisor: std::sync::Weak<Supervisor>) {
    let (mut looks_left, mut pauses) = (0, 0);
    loop {
        tokio::time::sleep(ROOM_INTERVAL).await;
        let Some(supervisor) = supervisor.upgrade() else { return };
        if supervisor.node.room.shortage().is_some() {
            looks_left = DISK_LOOKS;
        }
        pauses += 1;
        if looks_left == 0 && pauses < DISK_LOOKS {
            continue;
        }
        pauses = 0;
        supervisor.end_those_without_a_disk(looks_left > 0).await;
        looks_left = looks_left.saturating_sub(1);
    }
}

/// What those take that are there, and those that are about to wake.
fn used(handles: &BTreeMap<SandboxId, Handle>, waking: &[SandboxId]) -> Capacity {
    let takes = |handle: &&Handle| match handle.observed().state {
        State::Deleted => false,
        State::Paused => waking.contains(&handle.record.id),
        _ => true,
    };
    let alive = handles.values().filter(takes);
    let spec = |handle: &Handle| -> SandboxSpec { handle.record.spec.clone() };
    alive.fold(Capacity::default(), |sum, handle| plus(sum, demand(&spec(handle))))
}

/// Whether what is asked of it will be heard, now or soon.
fn may_serve(state: State) -> bool {
    !matches!(state, State::Paused | State::Deleting | State::Deleted)
}

fn asleep() -> NodeError {
    NodeError::new(NodeErrorCode::Asleep, "the sandbox is paused, and was not woken in time; ask again")
}

fn is_transition(state: State) -> bool {
    matches!(state, State::Starting | State::Unpausing | State::Snapshotting)
}

async fn bounded<T>(bound: Duration, future: impl Future<Output = T>) -> Result<T, NodeError> {
    let message = || format!("the sandbox did not settle within {} s", bound.as_secs());
    tokio::time::timeout(bound, future).await.map_err(|_| NodeError::new(NodeErrorCode::Timeout, message()))
}

fn died(reason: Reason, evidence: &str) -> Death {
    Death { reason, evidence: evidence.to_owned() }
}

/// It was gone when the node came back.
fn died_unwatched(exit: engine::Exit) -> Death {
    let reason = if exit.out_of_memory { Reason::OutOfMemory } else { Reason::EngineLost };
    died(reason, &format!("it was gone when the node came back: {}", exit.evidence))
}

/// An id this node has never seen, or has forgotten, is gone.
fn never_seen(id: SandboxId, delete: DeleteSandbox) -> Observed {
    Observed {
        id,
        generation: delete.generation,
        state: State::Deleted,
        death: Some(died(delete.reason, "")),
        timeout_at_ms: None,
        is_wanted: false,
        leaves: None,
        steps: Vec::new(),
    }
}

fn not_found(id: &SandboxId) -> NodeError {
    NodeError::new(NodeErrorCode::NotFound, format!("this node has no sandbox {id}"))
}

/// A wish that is older than another one.
pub fn stale(generation: u64, seen: u64) -> NodeError {
    NodeError::new(NodeErrorCode::Stale, format!("generation {generation} is older than {seen}"))
}

/// Why nothing can be asked of a sandbox that does not run.
pub fn ending(observed: &Observed) -> NodeError {
    let reason = observed.death.as_ref().map_or("unknown", |death| death.reason.as_str());
    NodeError::new(NodeErrorCode::WrongState, format!("the sandbox is {}: {reason}", observed.state))
}

fn unwritten(error: io::Error) -> NodeError {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => NodeErrorCode::StorageFull,
        _ => NodeErrorCode::Internal,
    };
    NodeError::new(code, format!("the sandbox's record cannot be written on the node: {error}"))
}

fn slow_record() -> NodeError {
    let bound = RECORD_BOUND.as_secs();
    let message =
        format!("the node's disk did not take the sandbox's record within {bound} s; ask again later");
    NodeError::new(NodeErrorCode::Timeout, message)
}

/// 32 bytes that nobody can guess, in hexadecimal.
///
/// # Errors
/// When the kernel has none.
pub fn random_hex() -> Result<String, NodeError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| NodeError::new(NodeErrorCode::Internal, format!("no randomness: {error}")))?;
    Ok(hex::encode(bytes))
}

/// The current boot of this host.
///
/// # Errors
/// When `/proc` is not there.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
