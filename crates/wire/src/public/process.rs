//! Commands in a sandbox, and processes that outlive the connection that started them.
//!
//! # Events and their numbers
//!
//! `…/process/stream` and `…/process/{id}/attach` answer with Server-Sent Events: the `data:` of each is a
//! [`ProcessEvent`], and its `id:` is the event's number, [`ProcessEvent::seq`].
//!
//! ```text
//! seq    0        1       2       3            n        n + 1
//!     started  stdout  stderr  stdout  …  the last   exit
//!              piece 0 piece 1 piece 2    piece n - 1
//! ```
//!
//! Event 0 says that the process runs, event `n` is the `n`th piece of its output, over both channels, and the number
//! after the last piece's is its end's. The number of a piece is the same in every stream of one process. So whoever has
//! seen event `n` of a process with an id goes on with `attach?after=n`, or with `Last-Event-ID: n`, and misses nothing and
//! sees nothing twice. Two events are about the stream and not about the process:
//!
//! - `gap`: pieces were forgotten before they could be sent; its number is that of the last of them.
//! - `error`: this stream is over, and it is not known from it how the process ended. It repeats the number of the event
//!   before it, so that nothing is skipped by going on after it.
//!
//! The last event is `exit` or `error`; a stream that ends without either failed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::ErrorBody;
#[cfg(feature = "schema")]
use super::schema::{Argv, Base64, CommandSeconds, Environment, Path, ProcessName, Script, Time};

/// Commands of one batch, at most.
pub const BATCH_COMMANDS_MAX: usize = 64;
/// Commands of one batch that run at the same time, at most.
pub const BATCH_PARALLEL_MAX: usize = 16;

/// A command: `POST /v1/sandbox/{id}/process/execute`, `…/process/stream`, `…/process/start`, one of
/// `…/process/batch`, or `run` of `POST /v1/sandbox`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Execute {
    /// A script for `/bin/sh -c`. Exactly one of this and `argv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Script>"))]
    pub command: Option<String>,
    /// A program and its arguments, run without a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Argv>"))]
    pub argv: Option<Vec<String>>,
    /// Where to start. Absent: the sandbox's workdir.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Path>"))]
    pub cwd: Option<String>,
    /// Added to the sandbox's environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Environment>"))]
    pub envs: Option<BTreeMap<String, String>>,
    /// Seconds until it and its group are killed. Absent: 30; with `start`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<CommandSeconds>"))]
    pub timeout: Option<u32>,
    /// As whom: a name or a number, each with `:group` or without. Absent: the sandbox's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it reads, before the end of its input. Absent: nothing but that end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// The same for any bytes, in base64. At most one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Base64>"))]
    pub stdin_base64: Option<String>,
    /// With `stream`: what becomes of it when the connection is lost. Absent: it is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_disconnect: Option<OnDisconnect>,
    /// With `start`, and with a `stream` that is detached: its id; 1 to 64 letters, digits, `-`, `_` and `.`, the first a
    /// letter or a digit. Absent: one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<ProcessName>"))]
    pub id: Option<String>,
    /// With the same: whether its input stays open for `POST …/process/{id}/stdin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_stdin: Option<bool>,
}

/// What becomes of a streamed command when the connection is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// It is killed.
    #[default]
    Kill,
    /// It goes on, as a process with an id.
    Detach,
}

/// How a command ended, and all it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Executed {
    /// What it passed to `exit`; 128 and the signal's number if one ended it; 124 if its time was up.
    pub exit_code: i32,
    /// Its output. Bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Its errors. Bytes that are not UTF-8 are replaced.
    pub stderr: String,
    /// True if it was killed because its time was up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// True if it was killed because the sandbox ran out of memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_memory: bool,
    /// True if it said more than is kept; the rest was dropped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// What came of a command whose failure does not fail the request it was part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Ran {
    /// It ran to its end, whatever that was.
    Executed(Executed),
    /// It did not start, it is not known how it ended, or (`not_run`) it was not tried.
    Failed {
        /// Why.
        error: ErrorBody,
    },
}

/// `POST /v1/sandbox/{id}/process/batch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Batch {
    /// What to run, [`BATCH_COMMANDS_MAX`] at most. All are checked before any is run.
    pub commands: Vec<Execute>,
    /// Whether they run at the same time, [`BATCH_PARALLEL_MAX`] at once. Absent: one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<bool>,
    /// Whether no more are begun once one has not ended with 0. Absent: all are run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_on_error: Option<bool>,
}

/// What came of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BatchRan {
    /// One for each command, in the order they were given.
    pub items: Vec<Ran>,
}

/// A process with an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Process {
    /// Its id.
    pub id: String,
    /// Its number inside the sandbox.
    pub pid: u32,
    /// What runs, cut where it is long.
    pub command: String,
    /// Where it started.
    pub cwd: String,
    /// Whether it runs.
    pub state: ProcessState,
    /// When it was started, by the sandbox's clock.
    #[cfg_attr(feature = "schema", schemars(with = "Time"))]
    pub started_at: String,
    /// When it ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Time>"))]
    pub ended_at: Option<String>,
    /// As in [`Executed::exit_code`], if it ended; 127 if it could not be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How it ended, if it did: `exited`, `signal`, `timeout`, `out_of_memory`, or `not_started` for what the sandbox was
    /// to start with, and could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    /// The number of the oldest event of its output that can still be had.
    pub first_seq: u64,
    /// The number of its last event so far.
    pub last_seq: u64,
    /// Whether input can be sent to it.
    pub stdin: bool,
}

/// Whether a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It runs.
    Running,
    /// It has ended.
    Ended,
}

/// `GET /v1/sandbox/{id}/processes`: those that run, and those that ended lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessList {
    /// In the order of their starts.
    pub items: Vec<Process>,
}

/// `POST /v1/sandbox/{id}/process/{process}/signal`, as clients may write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SendSignal {
    /// A name such as `TERM` or `SIGTERM`, or a number.
    pub signal: SignalName,
}

/// A signal, by name or number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum SignalName {
    /// Its number.
    Number(i32),
    /// Its name, with `SIG` before it or without.
    Name(String),
}

/// `POST /v1/sandbox/{id}/process/{process}/wait`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Wait {
    /// Seconds to wait at most; the answer then shows a process that runs. Absent: as long as a command may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<CommandSeconds>"))]
    pub timeout: Option<u32>,
}

/// One event of a process. See the module for what the numbers mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessEvent {
    /// Its number.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: ProcessEventKind,
}

/// What happened to a process, or to the stream that tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ProcessEventKind {
    /// It runs.
    Started {
        /// Its number inside the sandbox.
        pid: u32,
        /// Its id, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// It said something.
    Stdout {
        /// The bytes, in base64.
        #[cfg_attr(feature = "schema", schemars(with = "Base64"))]
        data: String,
    },
    /// It complained.
    Stderr {
        /// The bytes, in base64.
        #[cfg_attr(feature = "schema", schemars(with = "Base64"))]
        data: String,
    },
    /// It said more than is kept before this stream could tell it.
    Gap {
        /// So many events are missing.
        missed: u64,
    },
    /// It ended.
    Exit {
        /// As in [`Executed::exit_code`].
        exit_code: i32,
        /// The signal that ended it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        /// `exited`, `signal`, `timeout`, `out_of_memory` or `not_started`.
        how: String,
    },
    /// This stream is over, and it is not known from it how the process ended.
    Error {
        /// As in an error body.
        code: String,
        /// For people.
        message: String,
    },
}
