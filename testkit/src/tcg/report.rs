//! How a job ended.

use std::fmt;
use std::time::Duration;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The command ended with this code; 128 and the signal's number if a signal ended it.
    Exited(i32),
    /// The command printed nothing for so long that the machine was taken to hang, each time.
    NoProgress,
    /// The command was not done within the job's bound.
    OutOfTime,
    /// The machine ended without saying how the command did: its kernel died, or QEMU.
    Died,
}

/// What is known about a job that was run.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What the command printed, in the last attempt. The oldest lines are left out where it is very long.
    pub output: String,
    /// How each attempt ended that was given up for another one.
    pub retries: Vec<Outcome>,
    /// The machine's uptime when the command started, in the last attempt. None if it never did.
    pub boot: Option<Duration>,
    /// Time for all of it, retries included.
    pub elapsed: Duration,
    /// The end of what the machine's kernel and QEMU said, in the last attempt.
    pub console: String,
}

/// All but the output, which was told while it came.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { outcome, output: _, retries, boot, elapsed, console } = self;
        writeln!(
            f,
            "{outcome:?} after {elapsed:.1?}; started after {boot:.1?}; given up before: {retries:?}"
        )?;
        write!(f, "console:\n{console}")
    }
}
