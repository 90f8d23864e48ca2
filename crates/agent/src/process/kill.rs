//! The end of a process that has had its time, and of all it started.

use rustix::process::{Pid, Signal};

use super::reaper::Reaper;
use crate::proc;

/// Looks at a session for what was started since the last look.
const ROUNDS_MAX: u32 = 16;
/// Processes looked at before other work gets a turn.
const BATCH: usize = 32;

/// Kills the group and the session that `pid` leads: the group at once, then those of the session that have a group of
/// their own (a shell's jobs). What began a session of its own is not found.
pub async fn kill_all(pid: i32, reaper: &Reaper) {
    reaper.kill_group(pid);
    for _ in 0..ROUNDS_MAX {
        if !signal_session(pid, Signal::KILL).await {
            return;
        }
    }
}

/// Sends a signal to every living member of the session. False if there is none.
///
/// The kernel gives a session's number to nobody else while it has members, so a match is no accident.
pub async fn signal_session(session: i32, signal: Signal) -> bool {
    let mut found = false;
    for (seen, pid) in proc::pids().into_iter().enumerate() {
        if seen % BATCH == BATCH - 1 {
            tokio::task::yield_now().await;
        }
        let is_member =
            proc::process(pid).is_some_and(|process| process.session == session && process.is_alive);
        if is_member && let Some(pid) = Pid::from_raw(pid) {
            // Gone already: as good.
            let _ = rustix::process::kill_process(pid, signal);
            found = true;
        }
    }
    found
}
