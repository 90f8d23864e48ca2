//! Keeps the kernel ready to move processes between control groups.
//!
//! Whoever moves a process after a while in which nobody did waits for a grace
//! period of RCU, 10 to 25 ms; for one more such period nobody waits again
//! (kernel/rcu/sync.c). runsc moves itself twice in the start of a sandbox. So
//! while one is being started, a thread moves this process to where it is:
//! that takes the same lock and changes nothing. Measured, a start is 20 ms
//! shorter for it, of about 140.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Shorter than any grace period.
const PERIOD: Duration = Duration::from_millis(4);

/// Starts the thread when it is wanted.
#[derive(Default)]
pub(super) struct Warmer {
    wanted: Arc<AtomicUsize>,
}

/// As long as one of these lives, nobody waits.
pub(super) struct Warmth {
    wanted: Arc<AtomicUsize>,
}

impl Warmer {
    /// Wants it.
    pub(super) fn keep(&self) -> Warmth {
        if self.wanted.fetch_add(1, Ordering::SeqCst) == 0 {
            let wanted = self.wanted.clone();
            // Without the thread, starts are slower, and that is all.
            let _ = thread::Builder::new().name("warmth".into()).spawn(move || keep_warm(&wanted));
        }
        Warmth { wanted: self.wanted.clone() }
    }
}

impl Drop for Warmth {
    fn drop(&mut self) {
        self.wanted.fetch_sub(1, Ordering::SeqCst);
    }
}

fn keep_warm(wanted: &AtomicUsize) {
    let Some(file) = own_group() else { return };
    while wanted.load(Ordering::SeqCst) > 0 {
        // "0" is whoever writes it. A refusal comes after the lock was taken.
        let _ = fs::write(&file, "0");
        thread::sleep(PERIOD);
    }
}

/// The list of processes of a control group that this process is in.
fn own_group() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    crate::cgroup::process_list(&groups)
}
