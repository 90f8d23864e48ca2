//! Commands in a sandbox.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::schema::{Argv, Base64, CommandTimeoutSeconds, Environment, Path, Script};

/// `POST /v1/sandbox/{id}/process/execute`, and `…/process/stream`.
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
    /// Seconds until it is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<CommandTimeoutSeconds>"))]
    pub timeout: Option<u32>,
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

/// One event of `…/process/stream` (Server-Sent Events, the `data:` of each).
///
/// Numbers grow by one. The last event is `exit` or `error`; a stream that ends
/// without either failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessEvent {
    /// Its number, from 0.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: ProcessEventKind,
}

/// What happened to a streamed command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ProcessEventKind {
    /// It runs.
    Started {
        /// Its number inside the sandbox.
        pid: u32,
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
    /// It ended.
    Exit {
        /// As in [`Executed::exit_code`].
        exit_code: i32,
        /// The signal that ended it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        /// `exited`, `signal`, `timeout` or `out_of_memory`.
        how: String,
    },
    /// It is not known how it ended, or it never started.
    Error {
        /// As in an error body.
        code: String,
        /// For people.
        message: String,
    },
}
