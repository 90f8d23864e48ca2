//! Keeps the sandbox from filling its memory.
//!
//! When a sandbox passes its limit, the kernel of the host ends all of it. So
//! before that, when less than a reserve is left, the agent ends the largest
//! process inside. How long it may look away follows from how fast memory could
//! be filled, as in earlyoom (`github.com/rfjakob/earlyoom`); while the sandbox
//! has no processes, it does not look at all.

pub mod activity;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use self::activity::Activity;
use crate::proc::{self, Process};
use crate::process::reaper::Reaper;

/// The fastest a sandbox can fill its memory, in bytes per second: several processors touching fresh pages.
const FILL_BYTES_PER_SECOND: u64 = 4 << 30;
/// Between two looks at the memory, in milliseconds, at least.
const LOOK_MS_MIN: u64 = 10;
/// The same, at most.
const LOOK_MS_MAX: u64 = 1000;
/// A process smaller than this, in bytes, is not worth ending: memory is filled by something else (files).
const VICTIM_BYTES_MIN: u64 = 1 << 20;
/// Time for a killed process to end before another one is killed, in milliseconds.
const VICTIM_GONE_MS_MAX: u64 = 3000;
/// Time for its memory to be available again, in milliseconds.
const MEMORY_BACK_MS_MAX: u64 = 300;
/// Stack of the thread, in bytes.
const STACK_BYTES: usize = 128 * 1024;

/// The thread that watches.
pub struct Guard {
    reserve_bytes: u64,
    reaper: Arc<Reaper>,
    activity: Arc<Activity>,
    kills: AtomicU32,
}

impl Guard {
    /// Starts to watch that `reserve_bytes` stay available. 0: `None`, nothing is watched.
    pub fn start(
        reserve_bytes: u64,
        reaper: &Arc<Reaper>,
        activity: &Arc<Activity>,
    ) -> io::Result<Option<Arc<Self>>> {
        if reserve_bytes == 0 {
            return Ok(None);
        }
        let (reaper, activity) = (reaper.clone(), activity.clone());
        let guard = Arc::new(Self { reserve_bytes, reaper, activity, kills: AtomicU32::new(0) });
        let watching = guard.clone();
        let thread = std::thread::Builder::new().name("memory".into()).stack_size(STACK_BYTES);
        thread.spawn(move || watching.watch())?;
        Ok(Some(guard))
    }

    /// Processes killed so far.
    pub fn kills(&self) -> u32 {
        self.kills.load(Ordering::Relaxed)
    }

    fn watch(&self) -> ! {
        loop {
            self.activity.wait();
            let available_bytes = proc::memory().available_bytes;
            let is_relieved = available_bytes >= self.reserve_bytes || !self.relieve();
            if is_relieved {
                std::thread::sleep(look_away(available_bytes, self.reserve_bytes));
            }
        }
    }

    /// Ends the largest process. False if there is none worth it.
    fn relieve(&self) -> bool {
        let mut processes = proc::descendants();
        // A newborn still shares the agent's memory.
        processes.retain(|process| !self.reaper.is_newborn(process.pid));
        let Some(victim) = largest(&processes) else { return false };
        let Some(pid) = Pid::from_raw(victim.pid) else { return false };
        if !self.reaper.kill_for_memory(pid, victim.session) {
            return false;
        }
        self.kills.fetch_add(1, Ordering::Relaxed);
        let is_gone = || !proc::process(victim.pid).is_some_and(|process| process.is_alive);
        wait_for(is_gone, VICTIM_GONE_MS_MAX);
        wait_for(|| proc::memory().available_bytes >= self.reserve_bytes, MEMORY_BACK_MS_MAX);
        true
    }
}

/// How long the memory cannot have been filled.
fn look_away(available_bytes: u64, reserve_bytes: u64) -> Duration {
    let room_bytes = match available_bytes.checked_sub(reserve_bytes) {
        Some(room_bytes) => room_bytes,
        // Nothing to kill: nothing changes fast.
        None => return Duration::from_millis(LOOK_MS_MAX),
    };
    let ms = room_bytes.saturating_mul(1000) / FILL_BYTES_PER_SECOND;
    Duration::from_millis(ms.clamp(LOOK_MS_MIN, LOOK_MS_MAX))
}

fn largest(processes: &[Process]) -> Option<Process> {
    let alive = processes.iter().filter(|process| process.is_alive);
    let largest = alive.max_by_key(|process| process.resident_pages).copied()?;
    (largest.resident_pages * proc::page_bytes() >= VICTIM_BYTES_MIN).then_some(largest)
}

fn wait_for(is_true: impl Fn() -> bool, ms_max: u64) {
    let bound = Instant::now() + Duration::from_millis(ms_max);
    while !is_true() && Instant::now() < bound {
        std::thread::sleep(Duration::from_millis(LOOK_MS_MIN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_is_left_the_sooner_is_the_next_look() {
        let ms = |available, reserve| look_away(available, reserve).as_millis() as u64;
        assert_eq!(ms(64 << 30, 1 << 20), LOOK_MS_MAX);
        assert_eq!(ms((2 << 30) + 100, 100), 500);
        assert_eq!(ms(100, 100), LOOK_MS_MIN);
        assert_eq!(ms(99, 100), LOOK_MS_MAX, "there was nothing to kill");
    }

    #[test]
    fn the_largest_living_process_is_the_victim() {
        let process = |pid, is_alive, resident_pages| Process {
            pid,
            parent: 1,
            session: pid,
            is_alive,
            threads: 1,
            resident_pages,
        };
        let processes = [process(2, true, 4000), process(3, false, 9000), process(4, true, 5000)];
        assert_eq!(largest(&processes).map(|victim| victim.pid), Some(4));
        assert_eq!(largest(&[process(2, true, 1)]), None, "too small to be the cause");
    }
}
