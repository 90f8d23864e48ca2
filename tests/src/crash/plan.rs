//! Who is killed, during what, and when: all of it from one seed.

use std::fmt;
use std::time::Duration;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The process that runs machines.
    Node,
    /// The process that serves the API.
    Control,
    /// The parent of machines.
    Launcher,
    /// The process that keeps the others alive, and the others with it.
    Server,
    /// The kernel of a machine.
    Engine,
    /// The file server of a machine.
    Gofer,
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A sandbox is being made.
    Create,
    /// A command runs in one.
    Execute,
    /// A file is written to one.
    Write,
    /// One is being deleted.
    Delete,
    /// One is being paused.
    Pause,
    /// One is being woken.
    Wake,
    /// A snapshot of one is being taken.
    Snapshot,
    /// One is being made of a snapshot.
    Restore,
    /// Copies of one are being made.
    Fork,
}

/// When the victim is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After this step of the node's, before the next.
    Step(&'static str),
    /// So long after the operation began.
    After(Duration),
}

/// One crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What is under way.
    pub operation: Operation,
    /// Who is killed.
    pub victim: Victim,
    /// When.
    pub moment: Moment,
}

use Operation::{Create, Delete, Execute, Fork, Pause, Restore, Snapshot, Wake, Write};
use Victim::{Control, Engine, Gofer, Launcher, Node, Server};

/// The steps of a create before there is a machine.
const BEFORE: [&str; 6] = ["recorded", "directory", "image", "disk", "network", "bundle"];
/// The steps of a create once there is one.
const AFTER: [&str; 4] = ["machine", "dialled", "agent", "running"];
/// The steps of a delete.
const ENDING: [&str; 4] = ["deleting", "killed", "freed", "deleted"];
/// The steps of a pause as long as there is a machine, and those after.
const PAUSING: [&str; 5] = ["snapshotting", "stop", "write", "written", "kept"];
const PAUSED: [&str; 2] = ["released", "paused"];
/// The steps of a snapshot, the last when its sandbox goes on.
const TAKING: [&str; 5] = ["snapshotting", "stop", "write", "written", "stored"];
/// The steps of one that goes on from what was kept, beside those of a create.
const FETCHED: &str = "fetched";
const KERNEL: &str = "kernel";
const RENEWED: &str = "renewed";
/// Processes of the server.
const PARTS: [Victim; 4] = [Node, Control, Launcher, Server];
/// Processes of a machine.
const MACHINE: [Victim; 2] = [Engine, Gofer];
/// Random moments lie within so long after the operation began, in milliseconds.
const WINDOW_MS: u64 = 250;

impl Plan {
    /// Every victim at every step that has a name.
    pub fn at_steps() -> Vec<Self> {
        let step = |operation, victim, step| Self { operation, victim, moment: Moment::Step(step) };
        let mut plans = Vec::new();
        for victim in PARTS {
            plans.extend(BEFORE.iter().chain(&AFTER).map(|name| step(Create, victim, name)));
            plans.extend(ENDING.iter().map(|name| step(Delete, victim, name)));
            plans.extend(PAUSING.iter().chain(&PAUSED).map(|name| step(Pause, victim, name)));
            // From what is kept, a machine comes up like any other.
            let made = || BEFORE[1..].iter().chain([&KERNEL]).chain(&AFTER).copied();
            let going_on = || [FETCHED].into_iter().chain(made()).chain([RENEWED]);
            plans.extend(["unpausing"].into_iter().chain(going_on()).map(|name| step(Wake, victim, name)));
            plans.extend(TAKING.iter().map(|name| step(Snapshot, victim, name)));
            plans.extend([BEFORE[0]].into_iter().chain(going_on()).map(|name| step(Restore, victim, name)));
            plans.extend(["written", "stored", RENEWED].iter().map(|name| step(Fork, victim, name)));
        }
        for victim in MACHINE {
            plans.extend(AFTER.iter().map(|name| step(Create, victim, name)));
            plans.push(step(Delete, victim, ENDING[0]));
            plans.extend(PAUSING.iter().map(|name| step(Pause, victim, name)));
            plans.extend([KERNEL].iter().chain(&AFTER).map(|name| step(Wake, victim, name)));
            plans.extend(TAKING.iter().map(|name| step(Snapshot, victim, name)));
            plans.extend(
                [&KERNEL].into_iter().chain(&AFTER).chain([&RENEWED]).map(|name| step(Restore, victim, name)),
            );
        }
        plans
    }

    /// Anybody, at any moment.
    pub fn at_random(dice: &mut Dice) -> Self {
        let operation = dice.pick(&[Create, Execute, Write, Delete, Pause, Wake, Snapshot, Restore, Fork]);
        let victim = dice.pick(&[PARTS.as_slice(), &MACHINE].concat());
        let moment = Moment::After(Duration::from_millis(dice.below(WINDOW_MS)));
        Self { operation, victim, moment }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is killed during {:?} ", self.victim, self.operation)?;
        match self.moment {
            Moment::Step(step) => write!(f, "after `{step}`"),
            Moment::After(delay) => write!(f, "after {delay:?}"),
        }
    }
}

/// Numbers that follow from a seed: SplitMix64 (Steele, Lea, Flood, 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// These in another order.
    pub fn shuffle<T>(&mut self, these: &mut [T]) {
        for last in (1..these.len()).rev() {
            these.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}
