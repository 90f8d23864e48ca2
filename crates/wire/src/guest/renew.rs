//! What goes on from a checkpoint is made its own again, before anybody is served.
//!
//! A checkpoint may go on as itself, as another sandbox, or as many at once. What it knew when it was written down, all of
//! them know: the token of their node, their names, the state of every generator of random numbers. So the node that has
//! brought one up opens a connection with the old token, and renews it with what nobody else was given.
//!
//! An agent that does not know the request answers with [`super::ErrorCode::Unsupported`] and goes on as it was.

use serde::{Deserialize, Serialize};

/// One program of [`HOOKS_DIRECTORY`] has so long, in seconds, and is killed then with its group and session.
pub const HOOK_SECONDS_MAX: u64 = 10;
/// All of them together have so long, in seconds; those whose turn has not come by then are not run.
pub const HOOKS_SECONDS_MAX: u64 = 30;
/// A renewal is answered within this, in seconds, whatever is in its way inside.
pub const RENEW_SECONDS_MAX: u64 = 60;
/// Programs that are run, at most.
pub const HOOKS_MAX: usize = 32;
/// Of what one said, so much is told, in bytes: the last of it.
pub const SAID_BYTES_MAX: usize = 2048;
/// Notes on what was left as it was, at most.
pub const NOTES_MAX: usize = 64;
/// A note, in bytes, at most.
pub const NOTE_BYTES_MAX: usize = 512;

/// Where the present generation of a sandbox is to be read inside: one line of 32 hexadecimal digits, another one after each
/// renewal.
pub const GENERATION_PATH: &str = "/run/atoll/generation";
/// Where the programs are that are run after each renewal, in the order of their names, as root.
pub const HOOKS_DIRECTORY: &str = "/etc/atoll/on-restore.d";

/// Bytes of JSON that one byte of text may need.
const ESCAPED_BYTES_MAX: usize = 6;
/// A file's name, in bytes, at most, with what else is told of a program.
const HOOK_EXTRA_BYTES: usize = 512;

const _: () = assert!(
    ESCAPED_BYTES_MAX * (HOOKS_MAX * (SAID_BYTES_MAX + HOOK_EXTRA_BYTES) + NOTES_MAX * NOTE_BYTES_MAX)
        < super::frame::AGENT_MESSAGE_BYTES_MAX
);
const _: () = assert!(HOOKS_SECONDS_MAX + HOOK_SECONDS_MAX < RENEW_SECONDS_MAX);

/// What a sandbox is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// Opens connections from now on, as [`super::NodeHello::token`]. The old one opens none, and what it has opened is closed,
    /// but for the connection on which this comes.
    pub token: String,
    /// As [`super::Claim::hostname`]; taken on where it is another one than before. Programs are told it as the sandbox's id.
    pub hostname: String,
    /// What time it is, in wall-clock milliseconds.
    pub wall_ms: u64,
    /// As what it goes on.
    pub kind: RenewKind,
    /// 32 random bytes in hexadecimal, which nobody else is given.
    pub entropy: String,
}

/// As what something goes on from a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RenewKind {
    /// As itself: it keeps its names.
    Wake,
    /// As a sandbox of its own.
    Restore,
    /// As one of several.
    Fork,
}

impl RenewKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Restore => "restore",
            Self::Fork => "fork",
        }
    }
}

/// What came of it. What could not be renewed is told and is no failure: there is nothing to go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// How far the wall clock was set, in milliseconds; 0 if it was right, or could not be set.
    pub clock_stepped_ms: i64,
    /// What [`GENERATION_PATH`] says now.
    pub generation_id: String,
    /// How each program ended, in the order in which they were run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookEnd>,
    /// What was left as it was and why, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How a program of [`HOOKS_DIRECTORY`] ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookEnd {
    /// The file's name.
    pub name: String,
    /// What it passed to `exit`; absent when it was killed, or could not be started: then what it said is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Whether it was killed because its time was up.
    #[serde(default)]
    pub timed_out: bool,
    /// What it said last, over both channels; [`SAID_BYTES_MAX`] bytes at most.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
}
