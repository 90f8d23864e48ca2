//! The life of a sandbox, as a pure function.
//!
//! ```text
//!  (create)      ┌────────┐  CameUp  ┌─────────┐ Capture (TimeUp)  ┌──────────────┐
//!  ────────────► │starting│ ───────► │ running │ ────────────────► │ snapshotting │
//!                └───┬────┘ (Booted) └──┬───▲──┘ ◄─ WentOn, CaptureFailed ┬┘
//!                    │                  │   │                             │ Captured, Released
//!                    │                  │   │ CameUp                      ▼
//!                    │                  │ ┌─┴─────────┐     Wake     ┌────────┐
//!                    │                  │ │ unpausing │ ◄──────────► │ paused │
//!                    │                  │ └─────┬─────┘ BringUpFailed└───┬────┘
//!                    ▼                  ▼       ▼                        ▼
//!                ┌───────────────────────────────────────────────────────────┐  TornDown  ┌─────────┐
//!                │                         deleting                          │ ─────────► │ deleted │
//!                └───────────────────────────────────────────────────────────┘            └─────────┘
//! ```
//!
//! At most one piece of [`Work`] is under way. A death that is decided while
//! work is under way waits for it to end, and then takes everything down: so
//! a delete always wins, and never races what it deletes. Two pieces only wait
//! for something inside, and are given up at once: [`Work::Boot`] by any death,
//! [`Work::Stop`] by the end of the machine. What ends the machine while it is
//! captured is heard by whoever captures it, who says what came of it.

use wire::sandbox::{Death, Reason, State};

/// Where a sandbox stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    state: State,
    /// What the task is doing for it right now.
    work: Option<Work>,
    /// The first cause of its end. Later ones are consequences.
    death: Option<Death>,
    plan: Plan,
}

/// What a life depends on beside what happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plan {
    /// Whether it starts with something.
    pub boots: bool,
    /// Whether that is asked to stop before the machine goes.
    pub stops: bool,
    /// Whether it is paused, and does not end, when its time is up.
    pub auto_pause: bool,
}

/// Something that takes time and ends in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Ends in [`Event::CameUp`] or [`Event::BringUpFailed`].
    BringUp,
    /// What it starts with is started, and waited for. Ends in [`Event::Booted`] or [`Event::BootFailed`].
    Boot,
    /// It is written down. Ends in [`Event::Captured`], [`Event::WentOn`] or [`Event::CaptureFailed`].
    Capture,
    /// Its compute is given back. Ends in [`Event::Released`] or [`Event::ReleaseFailed`].
    Release,
    /// Ends in [`Event::CameUp`] or [`Event::BringUpFailed`].
    Restore,
    /// What it started with is asked to stop. Ends in [`Event::Stopped`].
    Stop,
    /// Ends in [`Event::TornDown`] or [`Event::TearDownFailed`].
    TearDown,
}

/// Everything that can happen to a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The machine runs and its agent answers.
    CameUp,
    /// It does not, for this reason.
    BringUpFailed(String),
    /// What it starts with is up, as far as it was to be waited for.
    Booted,
    /// It is not, and will not be.
    BootFailed(String),
    /// What it started with has ended, or will not in time.
    Stopped,
    /// Somebody wants it gone.
    Delete(Reason),
    /// Its time is up.
    TimeUp,
    /// Its engine ended unasked, or hangs.
    EngineExited {
        /// Whether by the memory limit.
        out_of_memory: bool,
        /// What was seen.
        evidence: String,
    },
    /// The host could not keep what was written inside: what is read there is not what was written.
    DiskFailed {
        /// For want of room.
        full: bool,
        /// What was seen.
        evidence: String,
    },
    /// Its agent stopped answering.
    AgentLost(String),
    /// Somebody wants it paused, or a snapshot of it.
    Capture,
    /// What it is, is durable.
    Captured,
    /// What it was a moment ago is, or will be; and it goes on.
    WentOn,
    /// It is not.
    CaptureFailed(CaptureFailure),
    /// It takes no compute any more.
    Released,
    /// It still does.
    ReleaseFailed(String),
    /// A request needs it.
    Wake,
    /// Nothing of it is left on the host.
    TornDown,
    /// Something of it is left on the host.
    TearDownFailed(String),
}

/// What became of a sandbox that could not be captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureFailure {
    /// It goes on.
    Refused,
    /// Its engine ended of it, or meanwhile.
    Fatal {
        /// Whether by the memory limit.
        out_of_memory: bool,
        /// What was seen.
        evidence: String,
    },
}

impl Life {
    /// A sandbox that is about to be made, and the work to do so.
    pub fn begin(plan: Plan) -> (Self, Work) {
        (Self { work: Some(Work::BringUp), ..Self::new(State::Starting, plan) }, Work::BringUp)
    }

    /// A sandbox found running after a restart of this process.
    pub fn adopted(plan: Plan) -> Self {
        Self::new(State::Running, plan)
    }

    /// A sandbox found at its start after a restart of this process: its agent answered, and it goes on from there.
    pub fn booting(plan: Plan) -> (Self, Option<Work>) {
        let work = Some(Work::Boot);
        (Self { work, ..Self::new(State::Starting, plan) }, work)
    }

    /// A sandbox found paused after a restart of this process: what was being done with it is given up.
    pub fn paused(plan: Plan) -> (Self, Option<Work>) {
        let work = Some(Work::Release);
        (Self { work, ..Self::new(State::Paused, plan) }, work)
    }

    /// A sandbox found dead or half made after a restart, and the work to clean up after it.
    pub fn lost(death: Death) -> (Self, Work) {
        let bare = Self::new(State::Deleting, Plan::default());
        (Self { work: Some(Work::TearDown), death: Some(death), ..bare }, Work::TearDown)
    }

    /// A sandbox that was gone before this process began.
    pub fn gone(death: Death) -> Self {
        Self { death: Some(death), ..Self::new(State::Deleted, Plan::default()) }
    }

    fn new(state: State, plan: Plan) -> Self {
        Self { state, work: None, death: None, plan }
    }

    /// The state users see.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it is ending or has ended.
    pub fn death(&self) -> Option<&Death> {
        self.death.as_ref()
    }

    /// What happens next. The returned work is to be started now.
    pub fn step(mut self, event: Event) -> (Self, Option<Work>) {
        let next = match event {
            Event::CameUp => self.came_up(),
            Event::BringUpFailed(evidence) => self.bring_up_failed(evidence),
            Event::Booted => self.booted(),
            Event::BootFailed(evidence) => self.boot_failed(evidence),
            Event::Stopped => self.stopped(),
            Event::Delete(reason) => self.die(reason, String::new()),
            Event::TimeUp => self.time_up(),
            Event::EngineExited { out_of_memory, evidence } => self.engine_exited(out_of_memory, evidence),
            Event::DiskFailed { full, evidence } => self.disk_failed(full, evidence),
            Event::AgentLost(evidence) => self.agent_lost(evidence),
            Event::Capture => self.capture(),
            Event::Captured => self.captured(),
            Event::WentOn => self.went_on(),
            Event::CaptureFailed(failure) => self.capture_failed(failure),
            Event::Released => self.released(),
            Event::ReleaseFailed(_) => self.release_failed(),
            Event::Wake => self.wake(),
            Event::TornDown => self.torn_down(),
            Event::TearDownFailed(_) => self.tear_down_failed(),
        };
        (self, next)
    }

    fn came_up(&mut self) -> Option<Work> {
        if !matches!(self.work, Some(Work::BringUp | Work::Restore)) {
            return None;
        }
        self.work = None;
        match self.state {
            State::Deleting => self.start(Work::TearDown),
            State::Starting if self.plan.boots => self.start(Work::Boot),
            _ => self.run(),
        }
    }

    fn run(&mut self) -> Option<Work> {
        self.state = State::Running;
        None
    }

    fn booted(&mut self) -> Option<Work> {
        if self.work != Some(Work::Boot) {
            return None;
        }
        self.work = None;
        self.run()
    }

    fn boot_failed(&mut self, evidence: String) -> Option<Work> {
        match self.work {
            Some(Work::Boot) => self.die(Reason::CreateFailed, evidence),
            _ => None,
        }
    }

    fn stopped(&mut self) -> Option<Work> {
        match self.work {
            Some(Work::Stop) => self.start(Work::TearDown),
            _ => None,
        }
    }

    fn bring_up_failed(&mut self, evidence: String) -> Option<Work> {
        if !matches!(self.work, Some(Work::BringUp | Work::Restore)) {
            return None;
        }
        self.work = None;
        match self.state {
            // What it is, is as durable as before.
            State::Unpausing => self.rest(),
            _ => self.die(Reason::CreateFailed, evidence),
        }
    }

    /// Decides that it ends, and starts taking it down unless other work has to end first.
    fn die(&mut self, reason: Reason, evidence: String) -> Option<Work> {
        if self.state == State::Deleted {
            return None;
        }
        self.death.get_or_insert(Death { reason, evidence });
        let before = std::mem::replace(&mut self.state, State::Deleting);
        match self.work {
            None if self.plan.stops && before == State::Running && is_planned(reason) => {
                self.start(Work::Stop)
            }
            None | Some(Work::Boot) => self.start(Work::TearDown),
            Some(_) => None,
        }
    }

    fn time_up(&mut self) -> Option<Work> {
        match self.state {
            State::Running if self.plan.auto_pause => self.capture(),
            State::Running => self.die(Reason::Timeout, String::new()),
            _ => None,
        }
    }

    fn engine_exited(&mut self, out_of_memory: bool, evidence: String) -> Option<Work> {
        let reason = if out_of_memory { Reason::OutOfMemory } else { Reason::EngineLost };
        match (self.state, self.work) {
            (State::Running, _) => self.die(reason, evidence),
            (_, Some(Work::Boot)) if out_of_memory => self.die(reason, evidence),
            (_, Some(Work::Boot)) => self.die(Reason::CreateFailed, evidence),
            (_, Some(Work::Stop)) => self.start(Work::TearDown),
            _ => None,
        }
    }

    fn disk_failed(&mut self, full: bool, evidence: String) -> Option<Work> {
        let reason = if full { Reason::DiskFull } else { Reason::EngineLost };
        match (self.state, self.work) {
            // What was kept before it failed is whole.
            (State::Running, _) | (State::Snapshotting, Some(Work::Capture)) => self.die(reason, evidence),
            _ => None,
        }
    }

    fn agent_lost(&mut self, evidence: String) -> Option<Work> {
        match (self.state, self.work) {
            (State::Running, _) => self.die(Reason::AgentLost, evidence),
            (_, Some(Work::Boot)) => self.die(Reason::CreateFailed, evidence),
            _ => None,
        }
    }

    fn capture(&mut self) -> Option<Work> {
        if self.state != State::Running {
            return None;
        }
        self.state = State::Snapshotting;
        self.start(Work::Capture)
    }

    fn captured(&mut self) -> Option<Work> {
        match (self.work, self.state) {
            (Some(Work::Capture), State::Deleting) => self.start(Work::TearDown),
            (Some(Work::Capture), _) => self.start(Work::Release),
            _ => None,
        }
    }

    fn went_on(&mut self) -> Option<Work> {
        if self.work != Some(Work::Capture) {
            return None;
        }
        self.work = None;
        if self.state == State::Deleting { self.start(Work::TearDown) } else { self.run() }
    }

    fn capture_failed(&mut self, failure: CaptureFailure) -> Option<Work> {
        if self.work != Some(Work::Capture) {
            return None;
        }
        self.work = None;
        match failure {
            _ if self.state == State::Deleting => self.start(Work::TearDown),
            CaptureFailure::Refused => self.run(),
            CaptureFailure::Fatal { out_of_memory: true, evidence } => {
                self.die(Reason::OutOfMemory, evidence)
            }
            CaptureFailure::Fatal { evidence, .. } => self.die(Reason::CheckpointFailed, evidence),
        }
    }

    fn released(&mut self) -> Option<Work> {
        if self.work != Some(Work::Release) {
            return None;
        }
        self.work = None;
        match self.state {
            State::Deleting => self.start(Work::TearDown),
            // Somebody needs it again already.
            State::Unpausing => self.start(Work::Restore),
            _ => self.rest(),
        }
    }

    fn release_failed(&mut self) -> Option<Work> {
        match (self.work, self.state) {
            (Some(Work::Release), State::Deleting) => self.start(Work::TearDown),
            (Some(Work::Release), _) => self.start(Work::Release),
            _ => None,
        }
    }

    fn rest(&mut self) -> Option<Work> {
        self.state = State::Paused;
        None
    }

    fn wake(&mut self) -> Option<Work> {
        if self.state != State::Paused {
            return None;
        }
        self.state = State::Unpausing;
        match self.work {
            None => self.start(Work::Restore),
            Some(_) => None,
        }
    }

    fn torn_down(&mut self) -> Option<Work> {
        if self.work == Some(Work::TearDown) {
            self.work = None;
            self.state = State::Deleted;
        }
        None
    }

    fn tear_down_failed(&mut self) -> Option<Work> {
        if self.work != Some(Work::TearDown) {
            return None;
        }
        self.start(Work::TearDown)
    }

    fn start(&mut self, work: Work) -> Option<Work> {
        self.work = Some(work);
        Some(work)
    }
}

/// Whether somebody wanted it to end, and nothing broke.
pub fn is_planned(reason: Reason) -> bool {
    matches!(reason, Reason::Deleted | Reason::Timeout)
}

#[cfg(test)]
mod tests;
