//! Knows the end of every process: the one caller of `waitpid`.
//!
//! A process that we start may end before whoever started it can say that it
//! wants to know. Its number is known earlier, though: the kernel writes it into
//! a *cradle* before the child runs, one for each thread that starts processes.
//! An end found in a cradle is kept there until the process is registered; every
//! other unregistered one is an orphan's, and nobody's concern.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::sync::oneshot;

use crate::memory::activity::Activity;

/// Threads that start processes. Two, so that one may hang in the file system of a user.
pub const CRADLES: usize = 2;

/// Children reaped before other work gets a turn.
const BATCH: usize = 128;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// What it passed to `exit`.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the agent killed it, or another process of its session, to save memory.
    pub is_memory_kill_near: bool,
    /// Whether the agent killed it itself to save memory.
    pub is_memory_kill: bool,
}

/// What there was to reap.
#[derive(Debug, PartialEq, Eq)]
pub enum Reaped {
    /// There may be more.
    More,
    /// That was all.
    All,
}

/// The register of living processes that somebody waits for.
#[derive(Default)]
pub struct Reaper {
    cradles: [AtomicI32; CRADLES],
    register: Mutex<Register>,
}

#[derive(Default)]
struct Register {
    living: BTreeMap<i32, Living>,
    ended_in_cradle: [Option<Ended>; CRADLES],
}

struct Living {
    exit: oneshot::Sender<Exit>,
    memory_kill_near: bool,
    memory_kill: bool,
}

#[derive(Clone, Copy)]
struct Ended {
    code: Option<i32>,
    signal: Option<i32>,
}

impl Reaper {
    /// Where the kernel is to write the number of a child that thread `cradle` starts.
    pub fn cradle(&self, cradle: usize) -> &AtomicI32 {
        &self.cradles[cradle]
    }

    /// Whether this process has not become its program yet.
    pub fn is_newborn(&self, pid: i32) -> bool {
        self.cradles.iter().any(|cradle| cradle.load(Ordering::Acquire) == pid)
    }

    /// Takes the child out of the cradle; its end will be said through the answer, or has been already.
    pub fn register(&self, cradle: usize, pid: i32) -> oneshot::Receiver<Exit> {
        let (sender, receiver) = oneshot::channel();
        let living = Living { exit: sender, memory_kill_near: false, memory_kill: false };
        let mut register = self.lock();
        match register.empty(cradle, &self.cradles) {
            Some(ended) => living.tell(ended),
            None => drop(register.living.insert(pid, living)),
        }
        receiver
    }

    /// The child in the cradle did not become a program; its end is nobody's concern.
    pub fn abandon(&self, cradle: usize) {
        let _ = self.lock().empty(cradle, &self.cradles);
    }

    /// Reaps children that have ended. Tells `activity` when there are none left.
    pub fn reap_some(&self, activity: &Activity) -> Reaped {
        for _ in 0..BATCH {
            let starts = activity.starts();
            // The register is held, so that a number is not given to another process before its end is booked.
            let mut register = self.lock();
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    register.book(pid.as_raw_nonzero().get(), Ended::of(status), &self.cradles)
                }
                Ok(None) => return Reaped::All,
                Err(rustix::io::Errno::INTR) => {}
                Err(_no_children) => {
                    drop(register);
                    activity.end(starts);
                    return Reaped::All;
                }
            }
        }
        Reaped::More
    }

    /// Kills the group that a registered process leads.
    pub fn kill_group(&self, pid: i32) {
        // Nobody left in it: as good.
        let _ = self.signal_group(pid, libc::SIGKILL);
    }

    /// Sends a signal to the group that a registered process leads. False if there is nobody any more.
    ///
    /// Once its leader is reaped, the number may mean another group; until then, and while the register is held, it cannot.
    pub fn signal_group(&self, pid: i32, signal: i32) -> bool {
        let register = self.lock();
        // SAFETY: `kill` touches no memory; the number is that of a child of ours that has not been reaped.
        register.living.contains_key(&pid) && pid > 1 && unsafe { libc::kill(-pid, signal) } == 0
    }

    /// Kills one process to save memory, and remembers it for the registered process whose session it is in.
    pub fn kill_for_memory(&self, pid: Pid, session: i32) -> bool {
        let mut register = self.lock();
        let is_killed = rustix::process::kill_process(pid, Signal::KILL).is_ok();
        if is_killed && let Some(living) = register.living.get_mut(&session) {
            living.memory_kill_near = true;
            living.memory_kill |= session == pid.as_raw_nonzero().get();
        }
        is_killed
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        // Poisoning needs a panic, which ends the process.
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Register {
    fn book(&mut self, pid: i32, ended: Ended, cradles: &[AtomicI32; CRADLES]) {
        if let Some(living) = self.living.remove(&pid) {
            living.tell(ended);
        } else if let Some(cradle) = cradles.iter().position(|cradle| cradle.load(Ordering::Acquire) == pid) {
            self.ended_in_cradle[cradle] = Some(ended);
        }
    }

    fn empty(&mut self, cradle: usize, cradles: &[AtomicI32; CRADLES]) -> Option<Ended> {
        cradles[cradle].store(0, Ordering::Release);
        self.ended_in_cradle[cradle].take()
    }
}

impl Ended {
    fn of(status: WaitStatus) -> Self {
        Self { code: status.exit_status(), signal: status.terminating_signal() }
    }
}

impl Living {
    fn tell(self, ended: Ended) {
        let exit = Exit {
            code: ended.code,
            signal: ended.signal,
            is_memory_kill_near: self.memory_kill_near,
            is_memory_kill: self.memory_kill,
        };
        // Whoever waited has gone: nobody wants to know.
        let _ = self.exit.send(exit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(reaper: &Reaper, pid: i32, code: i32) {
        let ended = Ended { code: Some(code), signal: None };
        reaper.lock().book(pid, ended, &reaper.cradles);
    }

    #[test]
    fn an_end_before_the_registration_is_kept() {
        let reaper = Reaper::default();
        reaper.cradle(1).store(42, Ordering::Release);
        end(&reaper, 42, 7);
        assert_eq!(reaper.register(1, 42).try_recv().unwrap().code, Some(7));
    }

    #[test]
    fn an_orphan_with_a_later_childs_number_is_forgotten() {
        let reaper = Reaper::default();
        end(&reaper, 42, 7);
        reaper.cradle(0).store(42, Ordering::Release);
        let mut exit = reaper.register(0, 42);
        assert!(exit.try_recv().is_err(), "the orphan's end was taken for the child's");
        end(&reaper, 42, 1);
        assert_eq!(exit.try_recv().unwrap().code, Some(1));
    }

    #[test]
    fn an_abandoned_child_leaves_nothing() {
        let reaper = Reaper::default();
        reaper.cradle(0).store(42, Ordering::Release);
        end(&reaper, 42, 127);
        reaper.abandon(0);
        reaper.cradle(0).store(43, Ordering::Release);
        assert!(reaper.register(0, 43).try_recv().is_err());
    }
}
