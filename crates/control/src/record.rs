//! What the store says of one sandbox, and every way it may change. Pure.
//!
//! ```text
//!                                want_paused, observe(snapshotting, paused)
//!             observe(running)   ┌───────────────────────────────▶ paused
//!  starting ──────────────────▶ running ◀─────── unpausing ◀─────────┘
//!     │                            │   observe(running)   want_awake
//!     │ fail, want_deleted         │ want_deleted, from anywhere
//!     └──────────────▶ deleting ◀──┘
//!                          └──────── observe(deleted) ────────▶ deleted
//! ```
//!
//! `desired` is what we want, and moves between running and paused until it is deleted; `observed`
//! is what the node was last heard to say. Every change of desire, and the
//! acknowledgement of a death, is a new `generation`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::id::{NodeId, SandboxId, TeamId, TemplateId};
use wire::node::{NodeErrorCode, Observed, SandboxSpec};
use wire::sandbox::{Reason, State};

/// A node computes `timeout_at_ms` each time it speaks: differences up to this are its arithmetic, not news.
const TIMEOUT_JITTER_MS: i64 = 1000;

/// What a sandbox should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// There, and serving.
    Running,
    /// Kept, without compute.
    Paused,
    /// Gone.
    Deleted,
}

/// Why it goes or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End {
    /// The cause.
    pub reason: Reason,
    /// What was seen that says so; may be empty.
    pub detail: String,
}

/// What the store says of one sandbox. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SandboxRecord {
    /// Which.
    pub id: SandboxId,
    /// Whose.
    pub team: TeamId,
    /// Made from what.
    pub template: TemplateId,
    /// Where.
    pub node: NodeId,
    /// What it should be.
    pub desired: Desired,
    /// What it is, as far as we have heard.
    pub observed: State,
    /// Grows with every change of desire.
    pub generation: u64,
    /// What it is made of.
    pub spec: SandboxSpec,
    /// What it may reach, as its owner said it.
    pub network_policy: Option<Value>,
    /// Its ports that are open to whoever asks, without a key.
    pub public_ports: BTreeSet<u16>,
    /// Why it goes or went.
    pub end: Option<End>,
    /// The kind of failure, if it could not be made.
    pub failure: Option<NodeErrorCode>,
    /// When its time is up, as far as we have heard or want.
    pub timeout_at_ms: Option<i64>,
    /// When it is to end, where that was asked for after it was made.
    pub ends_at_ms: Option<i64>,
    /// The newest generation its node was heard to have seen.
    pub seen_generation: u64,
    /// When it was asked for.
    pub created_at_ms: i64,
    /// When it was first seen to run.
    pub launched_at_ms: Option<i64>,
    /// When `observed` last changed.
    pub state_changed_at_ms: i64,
    /// When it was seen to be gone.
    pub deleted_at_ms: Option<i64>,
}

/// What `converge` must tell the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// That it should be there.
    Put,
    /// That it should end at another moment.
    Deadline,
    /// That it should be paused.
    Pause,
    /// That it should run again.
    Wake,
    /// That it should be gone.
    Delete,
}

impl SandboxRecord {
    /// What is left to tell the node; nothing when it is as it should be.
    pub fn next_step(&self) -> Option<Step> {
        match (self.desired, self.observed) {
            (_, State::Deleted) => None,
            (Desired::Deleted, _) => Some(Step::Delete),
            (Desired::Running, State::Starting) => Some(Step::Put),
            (Desired::Running, State::Unpausing) => Some(Step::Wake),
            (Desired::Paused, State::Running | State::Snapshotting) => Some(Step::Pause),
            (Desired::Running, State::Running) if self.ends_at_ms.is_some() && self.is_ahead() => {
                Some(Step::Deadline)
            }
            (Desired::Running | Desired::Paused, _) => None,
        }
    }

    /// Whether its node has yet to hear what is wanted now.
    fn is_ahead(&self) -> bool {
        self.seen_generation < self.generation
    }

    /// Whether nobody need wait for it any longer.
    pub fn is_settled(&self) -> bool {
        match self.observed {
            State::Running => self.desired != Desired::Paused,
            state => matches!(state, State::Paused | State::Deleted),
        }
    }

    /// The reason it goes or went.
    pub fn end_reason(&self) -> Reason {
        self.end.as_ref().map_or(Reason::Deleted, |end| end.reason)
    }

    /// What was seen that says so.
    pub fn end_detail(&self) -> &str {
        self.end.as_ref().map_or("", |end| &end.detail)
    }

    /// Somebody wants it gone. True if that is news.
    pub fn want_deleted(&mut self, reason: Reason, detail: &str, now_ms: i64) -> bool {
        if self.desired == Desired::Deleted {
            return false;
        }
        self.desired = Desired::Deleted;
        self.generation += 1;
        // One that ends by itself already keeps its cause.
        self.end.get_or_insert_with(|| End { reason, detail: detail.to_owned() });
        self.enter(State::Deleting, now_ms);
        true
    }

    /// Somebody wants it paused. True if that is news.
    pub fn want_paused(&mut self, _now_ms: i64) -> bool {
        if self.desired != Desired::Running || self.observed != State::Running {
            return false;
        }
        self.desired = Desired::Paused;
        self.generation = self.generation.max(self.seen_generation) + 1;
        self.ends_at_ms = None;
        true
    }

    /// Somebody needs it. True if it was paused, and is to run again.
    pub fn want_awake(&mut self, now_ms: i64) -> bool {
        if self.desired != Desired::Paused || self.observed != State::Paused {
            return false;
        }
        self.desired = Desired::Running;
        self.generation = self.generation.max(self.seen_generation) + 1;
        self.enter(State::Unpausing, now_ms);
        true
    }

    /// Its node will not pause it, as this generation wanted. True if that is news.
    pub fn pause_refused(&mut self, generation: u64) -> bool {
        let wanted = self.desired == Desired::Paused && self.generation == generation;
        if !wanted || !matches!(self.observed, State::Running | State::Snapshotting) {
            return false;
        }
        self.desired = Desired::Running;
        true
    }

    /// Its node will not wake it, as this generation wanted. True if that is news.
    pub fn wake_refused(&mut self, generation: u64, now_ms: i64) -> bool {
        let wanted = self.desired == Desired::Running && self.generation == generation;
        if !wanted || self.observed != State::Unpausing {
            return false;
        }
        self.desired = Desired::Paused;
        // What rests has no time, also where the node counted one before it refused.
        self.timeout_at_ms = None;
        self.enter(State::Paused, now_ms);
        true
    }

    /// Somebody wants it to end at this moment. False if it does not run: then nothing changed.
    pub fn want_end_at(&mut self, ends_at_ms: i64, timeout_seconds: u32) -> bool {
        if self.desired != Desired::Running || self.observed != State::Running {
            return false;
        }
        self.generation = self.generation.max(self.seen_generation) + 1;
        self.ends_at_ms = Some(ends_at_ms);
        self.timeout_at_ms = Some(ends_at_ms);
        self.spec.timeout_seconds = timeout_seconds;
        true
    }

    /// Somebody wants it to run for so long when it wakes. False if it is not paused: then nothing changed.
    pub fn want_seconds(&mut self, timeout_seconds: u32) -> bool {
        if self.desired != Desired::Paused || self.observed != State::Paused {
            return false;
        }
        self.spec.timeout_seconds = timeout_seconds;
        true
    }

    /// The node has seen this generation. True if ours was not newer, and is now.
    pub fn outrank(&mut self, seen: u64) -> bool {
        let stale = self.generation <= seen && self.observed != State::Deleted;
        if stale {
            self.generation = seen.saturating_add(1);
        }
        stale
    }

    /// It could not be made. True if it was still being made.
    pub fn fail(&mut self, failure: NodeErrorCode, detail: &str, now_ms: i64) -> bool {
        if self.desired == Desired::Deleted || self.observed != State::Starting {
            return false;
        }
        self.failure = Some(failure);
        self.want_deleted(Reason::CreateFailed, detail, now_ms)
    }

    /// The node said this. True if it is news.
    pub fn observe(&mut self, seen: &Observed, now_ms: i64) -> bool {
        if self.observed == State::Deleted {
            return false;
        }
        if seen.state == State::Deleted {
            let end =
                seen.death.as_ref().map(|death| End { reason: death.reason, detail: death.evidence.clone() });
            self.ended(end, now_ms);
            return true;
        }
        self.desired != Desired::Deleted && !self.is_late(seen) && self.observe_life(seen, now_ms)
    }

    /// Its node does not know it any more. True if that is news.
    pub fn lost(&mut self, now_ms: i64) -> bool {
        if self.observed == State::Deleted {
            return false;
        }
        let detail = "its node does not know it any more".to_owned();
        let unasked = self.desired != Desired::Deleted;
        self.ended(unasked.then_some(End { reason: Reason::EngineLost, detail }), now_ms);
        true
    }

    /// What we asked for beats what the node found, except that a life that ended by itself says how.
    fn ended(&mut self, found: Option<End>, now_ms: i64) {
        if self.desired != Desired::Deleted {
            self.desired = Desired::Deleted;
            self.generation += 1;
        }
        self.ends_at_ms = None;
        let asked_for = self.end.take();
        self.end = match (asked_for, found) {
            (Some(asked), _) if asked.reason == Reason::CreateFailed => Some(asked),
            (asked, None) => asked,
            (_, found) => found,
        };
        self.deleted_at_ms = Some(now_ms);
        self.timeout_at_ms = None;
        // The environment may hold secrets, and nobody needs it any more.
        self.spec.env.clear();
        self.enter(State::Deleted, now_ms);
    }

    /// Whether this is a word of before what is known: sandboxes do not start twice, nobody but we ends a pause, and a
    /// node that has not heard of its end says nothing about what is since.
    fn is_late(&self, seen: &Observed) -> bool {
        let ends = seen.state == State::Deleting;
        if seen.generation < self.seen_generation {
            return !ends;
        }
        match self.observed {
            State::Paused => !ends && seen.state != State::Paused,
            State::Unpausing => !ends && seen.generation < self.generation,
            State::Starting => false,
            _ => matches!(seen.state, State::Starting | State::Unpausing),
        }
    }

    fn observe_life(&mut self, seen: &Observed, now_ms: i64) -> bool {
        let mut news = false;
        if seen.state != self.observed {
            self.enter(seen.state, now_ms);
            news = true;
        }
        if seen.state == State::Paused && (self.desired == Desired::Running || self.timeout_at_ms.is_some()) {
            // When its time was up, unless somebody wanted it.
            self.desired = Desired::Paused;
            (self.timeout_at_ms, self.ends_at_ms) = (None, None);
            news = true;
        }
        if seen.generation > self.seen_generation {
            self.seen_generation = seen.generation;
            news = true;
        }
        if let Some(death) = seen.death.as_ref().filter(|_| self.end.is_none()) {
            self.end = Some(End { reason: death.reason, detail: death.evidence.clone() });
            news = true;
        }
        if seen.state == State::Running && self.launched_at_ms.is_none() {
            self.launched_at_ms = Some(now_ms);
            news = true;
        }
        // One who has not heard what is wanted now counts on the old time.
        let counts = seen.generation >= self.generation && seen.state != State::Paused;
        let counted = seen.timeout_at_ms.filter(|_| counts);
        if let Some(at_ms) = counted.and_then(|ms| i64::try_from(ms).ok()) {
            let known = self.timeout_at_ms.is_some_and(|old| old.abs_diff(at_ms) <= TIMEOUT_JITTER_MS as u64);
            news |= !known;
            self.timeout_at_ms = if known { self.timeout_at_ms } else { Some(at_ms) };
        }
        news
    }

    fn enter(&mut self, state: State, now_ms: i64) {
        self.observed = state;
        self.state_changed_at_ms = now_ms;
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use wire::image::Digest;
    use wire::sandbox::{Death, Resources};

    /// A sandbox that has just been asked for.
    pub fn fresh() -> SandboxRecord {
        SandboxRecord {
            id: SandboxId::from_entropy([3; 20]),
            team: TeamId::from_entropy([4; 20]),
            template: TemplateId::from_entropy([5; 20]),
            node: NodeId::from_entropy([6; 20]),
            desired: Desired::Running,
            observed: State::Starting,
            generation: 1,
            spec: SandboxSpec {
                image: Digest::from_sha256([7; 32]),
                resources: Resources { vcpu: 1, memory_mib: 512, disk_mib: 1024, processes_max: 100 },
                timeout_seconds: 300,
                env: BTreeMap::from([("TOKEN".into(), "secret".into())]),
                workdir: "/".into(),
                user: String::new(),
                boot: None,
                auto_pause: false,
                from: None,
            },
            network_policy: None,
            public_ports: BTreeSet::new(),
            end: None,
            failure: None,
            timeout_at_ms: None,
            ends_at_ms: None,
            seen_generation: 0,
            created_at_ms: 1000,
            launched_at_ms: None,
            state_changed_at_ms: 1000,
            deleted_at_ms: None,
        }
    }

    fn seen(state: State, death: Option<Reason>) -> Observed {
        Observed {
            id: fresh().id,
            generation: 1,
            state,
            death: death.map(|reason| Death { reason, evidence: "seen".into() }),
            timeout_at_ms: Some(500_000),
            is_wanted: false,
            leaves: None,
            steps: Vec::new(),
        }
    }

    #[derive(Debug, Clone)]
    enum Event {
        Seen(State, Option<Reason>),
        Delete,
        Pause,
        Wake,
        Refused,
        EndAt(i64),
        Seconds(u32),
        Fail,
        Lost,
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let reason = prop::option::of(prop_oneof![Just(Reason::Timeout), Just(Reason::EngineLost)]);
        let state = (0usize..State::ALL.len()).prop_map(|index| State::ALL[index]);
        prop_oneof![
            (state, reason).prop_map(|(state, reason)| Event::Seen(state, reason)),
            Just(Event::Delete),
            Just(Event::Pause),
            Just(Event::Wake),
            Just(Event::Refused),
            (1_000_000..2_000_000i64).prop_map(Event::EndAt),
            (1..28_800u32).prop_map(Event::Seconds),
            Just(Event::Fail),
            Just(Event::Lost),
        ]
    }

    fn apply(record: &mut SandboxRecord, event: &Event, now_ms: i64) -> bool {
        match event {
            Event::Seen(state, reason) => record.observe(&seen(*state, *reason), now_ms),
            Event::Delete => record.want_deleted(Reason::Deleted, "", now_ms),
            Event::Pause => record.want_paused(now_ms),
            Event::Wake => record.want_awake(now_ms),
            Event::Refused => {
                let generation = record.generation;
                record.pause_refused(generation) || record.wake_refused(generation, now_ms)
            }
            Event::EndAt(at_ms) => record.want_end_at(*at_ms, 60),
            Event::Seconds(seconds) => record.want_seconds(*seconds),
            Event::Fail => record.fail(NodeErrorCode::EngineFailed, "broke", now_ms),
            Event::Lost => record.lost(now_ms),
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_no_rule_is_broken(events in prop::collection::vec(any_event(), 0..30)) {
            let mut record = fresh();
            for (index, event) in events.iter().enumerate() {
                let before = record.clone();
                let news = apply(&mut record, event, 2000 + index as i64);
                prop_assert_eq!(news, record != before, "news is said exactly when something changed");
                prop_assert!(record.generation >= before.generation);
                prop_assert!(before.desired != Desired::Deleted || record.desired == Desired::Deleted, "nothing comes back");
                if record.observed == State::Paused {
                    prop_assert_eq!(record.desired, Desired::Paused, "what rests is wanted so");
                    prop_assert_eq!(record.timeout_at_ms, None, "it has no time");
                }
                if record.observed == State::Unpausing {
                    prop_assert_eq!(record.desired, Desired::Running);
                }
                prop_assert!(before.observed != State::Deleted || !news, "the last word is the last word");
                prop_assert!(record.launched_at_ms.is_some() || before.launched_at_ms.is_none());
                if record.next_step() == Some(Step::Deadline) {
                    prop_assert_eq!(record.timeout_at_ms, record.ends_at_ms, "an old word does not undo a new wish");
                }
                if record.desired == Desired::Deleted {
                    prop_assert!(record.generation > 1, "the node can tell the new desire from the old");
                    prop_assert!(matches!(record.observed, State::Deleting | State::Deleted));
                }
                if record.observed == State::Deleted {
                    prop_assert!(record.deleted_at_ms.is_some() && record.next_step().is_none());
                    prop_assert!(record.spec.env.is_empty(), "secrets go with the sandbox");
                }
            }
        }

        #[test]
        fn delete_works_from_every_state(events in prop::collection::vec(any_event(), 0..10)) {
            let mut record = fresh();
            for event in &events {
                apply(&mut record, event, 2000);
            }
            record.want_deleted(Reason::Deleted, "", 3000);
            prop_assert!(record.next_step() == Some(Step::Delete) || record.observed == State::Deleted);
            record.observe(&seen(State::Deleted, None), 4000);
            prop_assert_eq!(record.observed, State::Deleted);
        }
    }

    #[test]
    fn one_that_cannot_wake_rests_without_a_time() {
        let mut record = fresh();
        record.observe(&seen(State::Unpausing, None), 2000);
        assert!(record.wake_refused(record.generation, 2001));
        assert_eq!((record.observed, record.timeout_at_ms), (State::Paused, None));
    }

    #[test]
    fn a_sandbox_that_ran_out_of_time_says_so() {
        let mut record = fresh();
        record.observe(&seen(State::Running, None), 2000);
        assert!(record.observe(&seen(State::Deleted, Some(Reason::Timeout)), 3000));
        assert_eq!((record.end_reason(), record.end_detail()), (Reason::Timeout, "seen"));
    }

    #[test]
    fn a_failed_create_keeps_its_cause_when_the_node_cleans_up() {
        let mut record = fresh();
        assert!(record.fail(NodeErrorCode::EngineFailed, "no kernel", 2000));
        record.observe(&seen(State::Deleted, Some(Reason::CreateFailed)), 3000);
        assert_eq!((record.end_reason(), record.end_detail()), (Reason::CreateFailed, "no kernel"));
        assert_eq!(record.launched_at_ms, None);
    }

    #[test]
    fn a_wish_is_told_until_its_node_has_heard_it_and_the_node_counts_from_then_on() {
        let mut record = fresh();
        assert!(!record.want_end_at(900_000, 60), "it does not run");
        record.observe(&seen(State::Running, None), 2000);
        assert!(record.want_end_at(900_000, 60));
        record.observe(&seen(State::Running, None), 2001);
        assert_eq!((record.next_step(), record.timeout_at_ms), (Some(Step::Deadline), Some(900_000)));
        let heard = Observed { generation: 2, timeout_at_ms: Some(907_000), ..seen(State::Running, None) };
        assert!(record.observe(&heard, 2002));
        assert_eq!((record.next_step(), record.timeout_at_ms), (None, Some(907_000)));
    }

    #[test]
    fn one_that_ends_by_itself_says_why_before_it_is_gone_and_a_delete_does_not_hide_it() {
        let mut record = fresh();
        record.observe(&seen(State::Running, None), 2000);
        record.observe(&seen(State::Deleting, Some(Reason::Timeout)), 3000);
        assert_eq!(record.end_reason(), Reason::Timeout);
        record.want_deleted(Reason::Deleted, "", 3001);
        assert_eq!((record.end_reason(), record.next_step()), (Reason::Timeout, Some(Step::Delete)));
    }

    #[test]
    fn a_late_starting_does_not_undo_running() {
        let mut record = fresh();
        record.observe(&seen(State::Running, None), 2000);
        assert!(!record.observe(&seen(State::Starting, None), 2001));
        assert_eq!(record.observed, State::Running);
    }

    /// One that the node has paused by itself.
    fn paused() -> SandboxRecord {
        let mut record = fresh();
        record.observe(&seen(State::Running, None), 2000);
        record.observe(&Observed { timeout_at_ms: None, ..seen(State::Paused, None) }, 3000);
        record
    }

    #[test]
    fn one_that_is_paused_is_woken_once_and_late_words_do_not_wake_it() {
        let mut record = paused();
        assert_eq!((record.desired, record.observed), (Desired::Paused, State::Paused));
        for late in [State::Running, State::Snapshotting] {
            assert!(!record.observe(&seen(late, None), 3001));
        }
        assert!(record.want_awake(4000) && !record.want_awake(4001));
        assert_eq!((record.observed, record.next_step()), (State::Unpausing, Some(Step::Wake)));
        assert!(!record.observe(&seen(State::Paused, None), 4002), "it has not heard of it");
        record.observe(&Observed { generation: 2, ..seen(State::Running, None) }, 5000);
        assert_eq!((record.observed, record.next_step()), (State::Running, None));
        assert!(!record.observe(&seen(State::Paused, None), 5001), "that was before");
    }

    #[test]
    fn a_refusal_undoes_the_wish_and_no_newer_one() {
        let mut record = paused();
        record.want_awake(4000);
        assert!(!record.wake_refused(1, 4001));
        assert!(record.wake_refused(2, 4001));
        assert_eq!((record.desired, record.observed), (Desired::Paused, State::Paused));
        let mut record = fresh();
        record.observe(&seen(State::Running, None), 2000);
        assert!(record.want_paused(2001) && !record.is_settled());
        assert_eq!(record.next_step(), Some(Step::Pause));
        assert!(record.pause_refused(2) && record.is_settled());
        assert_eq!(record.next_step(), None);
    }

    #[test]
    fn the_same_word_twice_is_not_news() {
        let mut record = fresh();
        assert!(record.observe(&seen(State::Running, None), 2000));
        let mut again = seen(State::Running, None);
        again.timeout_at_ms = again.timeout_at_ms.map(|ms| ms + 3);
        assert!(!record.observe(&again, 2001));
    }
}
