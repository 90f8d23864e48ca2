//! What a sandbox is, whoever talks about it: its states, its size and how it can end.

pub mod signal;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use crate::public::schema::{PortNumber, ReadySeconds, StartCommand, UrlPath};

/// The seven states of a sandbox, as users see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Being made; requests wait.
    Starting,
    /// Serving requests.
    Running,
    /// Its memory and disk are being captured, after which it goes on or is paused; requests wait.
    Snapshotting,
    /// Kept as a snapshot; no compute. The next request wakes it.
    Paused,
    /// Being restored from its snapshot; requests wait.
    Unpausing,
    /// Going away; nothing brings it back.
    Deleting,
    /// Gone. Only its record is left, for a while.
    Deleted,
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [State; 7] = [
        State::Starting,
        State::Running,
        State::Snapshotting,
        State::Paused,
        State::Unpausing,
        State::Deleting,
        State::Deleted,
    ];

    /// The word users see.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Snapshotting => "snapshotting",
            State::Paused => "paused",
            State::Unpausing => "unpausing",
            State::Deleting => "deleting",
            State::Deleted => "deleted",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for State {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

/// Why a sandbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Somebody asked for it.
    Deleted,
    /// Its time was up.
    Timeout,
    /// The sandbox as a whole used more memory than its limit and the agent could not prevent it.
    OutOfMemory,
    /// The host's disk was full, so what had been written inside was lost: its files are not to be trusted.
    DiskFull,
    /// The engine's process ended without being asked to.
    EngineLost,
    /// The agent stopped answering while the engine still ran.
    AgentLost,
    /// It never came up.
    CreateFailed,
    /// The host was restarted under it.
    HostRestarted,
    /// Its engine ended while its memory was being captured.
    CheckpointFailed,
}

impl Reason {
    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Deleted => "deleted",
            Reason::Timeout => "timeout",
            Reason::OutOfMemory => "out_of_memory",
            Reason::DiskFull => "disk_full",
            Reason::EngineLost => "engine_lost",
            Reason::AgentLost => "agent_lost",
            Reason::CreateFailed => "create_failed",
            Reason::HostRestarted => "host_restarted",
            Reason::CheckpointFailed => "checkpoint_failed",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An end: the reason, and what was seen that says so (a signal, the engine's last words).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// The cause.
    pub reason: Reason,
    /// What was seen, for people. Empty when the reason says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
}

/// What a sandbox may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Virtual CPUs.
    pub vcpu: u32,
    /// Memory of the sandbox, in MiB; the engine's own comes on top.
    pub memory_mib: u32,
    /// What can be written on top of the image, in MiB. Thin: only what is used is stored.
    pub disk_mib: u32,
    /// Processes and threads at once; one more fails inside with `EAGAIN`.
    pub processes_max: u32,
}

/// What is started in a sandbox before anybody is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// When it counts as up; absent, it is started and not waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<ReadyCheck>,
    /// The signal that asks it to stop, as [`signal::number`] reads it; absent, it ends with the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

/// When what a sandbox starts with counts as up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadyCheck {
    /// What must succeed.
    #[serde(flatten)]
    pub probe: Probe,
    /// The sandbox fails if that has not happened after so many seconds.
    #[serde(default = "defaults::ready_timeout_seconds")]
    #[cfg_attr(feature = "schema", schemars(with = "ReadySeconds"))]
    pub timeout_seconds: u32,
}

/// What is tried inside a sandbox, until it succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A connection to this TCP port of its loopback interface.
    Port(#[cfg_attr(feature = "schema", schemars(with = "PortNumber"))] u16),
    /// `GET` of a path there, answered with 200 to 399.
    Http(HttpProbe),
    /// A command line for the shell that exits with 0.
    Command(#[cfg_attr(feature = "schema", schemars(with = "StartCommand"))] String),
}

/// Where [`Probe::Http`] asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HttpProbe {
    /// The port.
    #[cfg_attr(feature = "schema", schemars(with = "PortNumber"))]
    pub port: u16,
    /// The path, with its leading slash.
    #[cfg_attr(feature = "schema", schemars(with = "UrlPath"))]
    pub path: String,
}

/// The values a user may ask for, each with its unit in its name.
pub mod limits {
    use std::ops::RangeInclusive;

    /// Virtual CPUs of one sandbox.
    pub const VCPU: RangeInclusive<u32> = 1..=8;
    /// Memory of one sandbox, in MiB; even.
    pub const MEMORY_MIB: RangeInclusive<u32> = 512..=8192;
    /// What can be written in one sandbox, in MiB.
    pub const DISK_MIB: RangeInclusive<u32> = 256..=65_536;
    /// Life of a sandbox, in seconds.
    pub const TIMEOUT_SECONDS: RangeInclusive<u32> = 1..=28_800;
    /// Characters of a template's name.
    pub const TEMPLATE_NAME_CHARS: RangeInclusive<usize> = 1..=64;
    /// Variables in `env_vars` or `envs`.
    pub const ENV_VARS_MAX: usize = 256;
    /// All names and values of one environment together, in bytes.
    pub const ENV_BYTES_MAX: usize = 128 * 1024;
    /// A command line or script, in bytes.
    pub const COMMAND_BYTES_MAX: usize = 10 * 1024 * 1024;
    /// Life of one command, in seconds.
    pub const COMMAND_TIMEOUT_SECONDS: RangeInclusive<u32> = 1..=28_800;
    /// Time for a [`super::ReadyCheck`], in seconds.
    pub const READY_TIMEOUT_SECONDS: RangeInclusive<u32> = 1..=600;
    /// A path inside a sandbox, in bytes (Linux `PATH_MAX`).
    pub const PATH_BYTES_MAX: usize = 4096;
}

/// What is used where a user leaves a value out.
pub mod defaults {
    /// Virtual CPUs.
    pub const VCPU: u32 = 1;
    /// Memory in MiB.
    pub const MEMORY_MIB: u32 = 1024;
    /// Writable disk in MiB.
    pub const DISK_MIB: u32 = 10 * 1024;
    /// Processes and threads.
    pub const PROCESSES_MAX: u32 = 4096;
    /// Life of a sandbox in seconds.
    pub const TIMEOUT_SECONDS: u32 = 300;
    /// Life of a command in seconds.
    pub const COMMAND_TIMEOUT_SECONDS: u32 = 30;
    /// Time for a [`super::ReadyCheck`] in seconds.
    pub const fn ready_timeout_seconds() -> u32 {
        60
    }
    /// The template a sandbox is made from.
    pub const TEMPLATE: &str = "system/debian:bookworm";
}
