//! Idle sandboxes: their kernel wakes a thousand times a second for nothing,
//! unless the host is allowed to wake it late.

use std::fs;

use wire::id::SandboxId;

use super::Inner;

/// How late timers may be while nobody talks to a sandbox, in nanoseconds.
pub(super) const TIMER_SLACK_IDLE: u64 = 50_000_000;
/// What Linux gives every process, in nanoseconds.
pub(super) const TIMER_SLACK_ACTIVE: u64 = 50_000;

impl Inner {
    /// Sets how late timers may be for every thread of a sandbox's kernel. One that has ended needs nothing.
    pub(super) fn set_timer_slack(&self, id: &SandboxId, nanoseconds: u64) {
        let Ok(Some(process)) = self.process(id) else { return };
        let tasks = fs::read_dir(format!("/proc/{}/task", process.pid())).into_iter().flatten().flatten();
        for task in tasks {
            // A thread may end meanwhile.
            let thread = task.file_name();
            let _ = fs::write(format!("/proc/{}/timerslack_ns", thread.display()), nanoseconds.to_string());
        }
    }
}
