//! What a sandbox starts with. It is a process with an id ([`super::process`]), so that it can be listened to,
//! signalled and waited for like any other; its end does not end the sandbox.

use serde::{Deserialize, Serialize};

use super::ExecEnd;
use crate::sandbox::Probe;

/// The id of its process.
pub const PROCESS_ID: &str = "boot";
/// What it said last, as far as it is told with the outcome, in bytes.
pub const LAST_WORDS_BYTES_MAX: usize = 2048;

/// What to start, and how to tell that it is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The program (looked up in `PATH`) and its arguments. It is the sandbox's user's, starts in the workdir, and reads
    /// the end of its input.
    pub argv: Vec<String>,
    /// Absent: it is started and not waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Ready>,
}

/// When it counts as up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// What must succeed; tried again and again.
    pub probe: Probe,
    /// It is waited for so long, in milliseconds.
    pub timeout_ms: u64,
}

/// What became of it so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booted {
    /// Whether it is up; true where that was not asked.
    pub is_up: bool,
    /// How long it was waited for, in milliseconds.
    pub waited_ms: u64,
    /// How often the probe was tried.
    pub tries: u32,
    /// What came of the last try, for people. Empty: it succeeded, or there was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_answer: String,
    /// How the process ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<ExecEnd>,
    /// What it said last, [`LAST_WORDS_BYTES_MAX`] bytes at most; empty where it is up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_words: String,
}
