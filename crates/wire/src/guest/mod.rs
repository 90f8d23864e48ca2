//! What a node and the agent inside a sandbox say to each other.
//!
//! One byte stream (TCP, vsock or a Unix socket: the protocol does not care)
//! carries [`frame::Frame`]s. Stream 0 is the connection itself; every other
//! number is one request, chosen by the node, odd or even, never reused on a
//! connection:
//!
//! ```text
//! node  -> agent   Hello {generation, token, claim?}        on stream 0, first frame
//! agent -> node    Hello {generation, agent_version, ...}   on stream 0, first frame
//! node  -> agent   Open  <Request as JSON>                  on stream n
//! both             Data, Eof, Credit                        on stream n
//! agent -> node    Head  <Head as JSON>                     at most once, before any Data
//! agent -> node    End   <Outcome as JSON>                  exactly once, the last frame of n
//! node  -> agent   Cancel                                   the node lost interest; End follows
//! ```
//!
//! A connection whose `Hello` dials a port carries no frames after the two
//! greetings, but that port's bytes as they are.
//!
//! A stream that ends without `End` (the connection broke) failed, whatever it
//! had said before. Neither side sends more Data bytes on a stream than the
//! other has granted: [`frame::INITIAL_CREDIT_BYTES`] at first, then what
//! `Credit` frames add.
//!
//! **Generation.** [`GENERATION`] counts changes of meaning. Both sides say
//! theirs in `Hello` and speak the lower one; a request the older side does not
//! know fails alone with [`ErrorCode::Unsupported`]. An agent in a snapshot
//! never learns, so the node must keep speaking every generation since
//! [`OLDEST_GENERATION`].

pub mod boot;
pub mod bundle;
pub mod file;
pub mod frame;
pub mod part;
pub mod process;
pub mod pty;
pub mod renew;
pub mod watch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::boot::{Boot, Booted};
use self::file::{FileCall, FileInfo, Walk};
use self::part::{Parted, Rejoin};
use self::process::{ProcessCall, ProcessInfo};
use self::pty::{PtyCall, PtyInfo};
use self::renew::{Renew, Renewed};
use self::watch::Watch;

/// The newest protocol generation this build speaks.
pub const GENERATION: u32 = 1;
/// The oldest protocol generation this build still speaks.
pub const OLDEST_GENERATION: u32 = 1;

/// Where the agent listens inside a sandbox that has a network of its own.
/// Below 1024, so that the sandbox user cannot take its place.
pub const AGENT_TCP_PORT: u16 = 1;

/// The node's first words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHello {
    /// The newest generation the node speaks.
    pub generation: u32,
    /// Proves that it is the node that claimed this agent: 32 random bytes in hexadecimal.
    pub token: String,
    /// Taken by the first connection of a life; ignored afterwards, if the token is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// Wants no requests carried out here, but a connection to this port of the sandbox's loopback interface: when
    /// [`AgentHello::dialled`] says so, every byte after it, in either direction, is of that connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dial: Option<u16>,
}

/// The agent's first words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentHello {
    /// The newest generation the agent speaks.
    pub generation: u32,
    /// The version of the agent's build.
    pub agent_version: String,
    /// True if this `Hello` claimed the agent, false if it had been claimed with the same token before.
    pub claimed_now: bool,
    /// Why the agent hangs up right after this, if it does: a wrong token, a generation it cannot speak, or a port on
    /// which nobody listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Whether [`NodeHello::dial`] was done; an agent that has never heard of it says nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dialled: bool,
}

/// What a fresh agent is told once: who its sandbox is.
///
/// The first connection claims the agent. Nothing of the user's runs before
/// that, so nobody inside can be first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The name `hostname` prints.
    pub hostname: String,
    /// The environment of every process, before the request's own.
    pub env: BTreeMap<String, String>,
    /// `USER` of the image: `name`, `uid`, either with `:group`. Empty: the sandbox user, or root where there is none.
    pub user: String,
    /// Where processes start and relative paths begin.
    pub workdir: String,
    /// Processes and threads at once; one more fails with `EAGAIN`.
    pub processes_max: u32,
    /// When less memory than this is available, in bytes, the largest process is killed. 0: never.
    pub memory_reserve_bytes: u64,
    /// What the engine of this sandbox needs the agent to paper over.
    #[serde(default)]
    pub shims: Shims,
}

/// Repairs the agent makes inside, because the engine needs them. Each is off unless a probe of the engine asked for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shims {
    /// Answer `close_range` with `ENOSYS`: this engine's own answer is wrong, and GLib believes it.
    #[serde(default)]
    pub mask_close_range: bool,
    /// Unmount the memory file system this engine puts over an empty `/tmp`, so that `/tmp` is disk.
    #[serde(default)]
    pub uncover_tmp: bool,
}

/// One thing the node asks of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Run a process. Data: stdin in, stdout and stderr out. Ends with [`Done::Exec`].
    Exec(Exec),
    /// Read a file. Head: [`Head::File`], then Data on [`frame::Channel::Stdout`]. Ends with [`Done::Read`].
    ReadFile(ReadFile),
    /// Write a file from Data on [`frame::Channel::Stdin`] until its Eof. Ends with [`Done::Write`].
    ///
    /// The file appears whole or not at all: it is written beside its place and renamed.
    WriteFile(WriteFile),
    /// Read several files: Data on [`frame::Channel::Stdout`] is a [`bundle`]. Ends with [`Done::Read`], or with what is
    /// wrong with the first that cannot be read.
    ReadFiles {
        /// Which; relative to the workdir.
        paths: Vec<String>,
    },
    /// Write several files from Data on [`frame::Channel::Stdin`], a [`bundle`], until its Eof. Ends with [`Done::Write`].
    ///
    /// Each appears whole or not at all, as in `WriteFile`; those before one that fails stay.
    WriteFiles,
    /// One operation on files.
    File(FileCall),
    /// Look for files.
    Walk(Walk),
    /// Watch a directory.
    Watch(Watch),
    /// Something about a process that has an id.
    Process(ProcessCall),
    /// Something about a terminal.
    Pty(PtyCall),
    /// Start what the sandbox starts with, unless it was started before, and wait until it is up. `Cancel` ends the waiting
    /// alone. Ends with [`Done::Booted`].
    Boot(Boot),
    /// Who the sandbox's user is. Ends with [`Done::Whoami`].
    Whoami,
    /// The machine is about to be stopped for a while. Processes that would be killed with their streams go on without them.
    /// Ends with [`Done::Nothing`], after the streams it has ended.
    Pause {
        /// True: those streams, and all that listen to processes, end with [`Done::Parted`]. False: those alone, with
        /// [`ErrorCode::Cancelled`].
        #[serde(default)]
        rejoinable: bool,
    },
    /// Goes on with a stream that was parted from. Ends as that would have, or with [`ErrorCode::Cancelled`] if it is too late.
    Rejoin(Rejoin),
    /// The machine goes on from a checkpoint: it gets a token, names and randomness that nobody else has. Comes first on a new
    /// connection. Ends with [`Done::Renewed`].
    Renew(Renew),
    /// How the inside is. Ends with [`Done::Status`].
    Status,
}

impl Request {
    /// Whether Data on [`frame::Channel::Stdin`] may follow it.
    pub fn takes_input(&self) -> bool {
        match self {
            Request::Exec(exec) => exec.stdin && exec.id.is_none(),
            Request::WriteFile(_) | Request::WriteFiles => true,
            Request::Process(call) => matches!(call, ProcessCall::Input { .. }),
            Request::Pty(call) => matches!(call, PtyCall::Attach { .. }),
            Request::ReadFile(_) | Request::ReadFiles { .. } | Request::File(_) | Request::Walk(_) => false,
            Request::Watch(_) | Request::Boot(_) | Request::Whoami => false,
            Request::Rejoin(rejoin) => rejoin.input,
            Request::Pause { .. } | Request::Renew(_) | Request::Status => false,
        }
    }
}

/// A process to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// What to run.
    pub command: Command,
    /// Where to start; relative to the sandbox's workdir. Absent: the workdir.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Added to the sandbox's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// As whom, in the form of [`Claim::user`]. Absent: the sandbox's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The process and all of its group are killed after this many milliseconds. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// True: stdin is Data on [`frame::Channel::Stdin`] until its Eof. False: `/dev/null`.
    #[serde(default)]
    pub stdin: bool,
    /// Gives it an id ([`process`]): then it goes on when this stream is cancelled or breaks, and `stdin` comes from
    /// [`ProcessCall::Input`]. Absent: it is killed with its stream, unless [`Request::Pause`] parts the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Exec {
    /// This, as the sandbox's user in its workdir, without input, a bound or an id.
    pub fn of(command: Command) -> Self {
        Self {
            command,
            cwd: None,
            env: BTreeMap::new(),
            user: None,
            timeout_ms: None,
            stdin: false,
            id: None,
        }
    }
}

/// A command line, with or without a shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The program (looked up in `PATH`) and its arguments.
    Argv(Vec<String>),
    /// A script for `/bin/sh`, of any length.
    Shell(String),
}

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFile {
    /// Which; relative to the workdir.
    pub path: String,
    /// What part of it.
    #[serde(default)]
    pub part: Part,
}

/// A part of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// Bytes from `offset`, `limit` of them at most.
    Bytes {
        /// Bytes to skip.
        offset: u64,
        /// Bytes to return at most; absent: to the end.
        limit: Option<u64>,
    },
    /// The first lines.
    Head {
        /// How many.
        lines: u64,
    },
    /// The last lines.
    Tail {
        /// How many.
        lines: u64,
    },
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteFile {
    /// Which; relative to the workdir. Missing parents are made.
    pub path: String,
    /// Permission bits. Absent: those of the file it replaces, or 0644.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// What comes before a stream's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// A file was opened.
    File {
        /// Its size when it was opened, in bytes.
        size_bytes: u64,
    },
    /// A process was started.
    Process {
        /// Its number inside the sandbox.
        pid: u32,
    },
    /// A process with an id is listened to.
    Attached {
        /// Its number inside the sandbox.
        pid: u32,
        /// The number of the first piece that follows.
        from: u64,
    },
    /// A watch stands: what happens from now on is told.
    Watching,
    /// A terminal is viewed.
    Pty(PtyInfo),
}

/// The last word on a request.
pub type Outcome = Result<Done, Error>;

/// A request that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// A process ended.
    Exec(ExecEnd),
    /// A file was read to the end of what was asked.
    Read {
        /// Bytes sent.
        bytes: u64,
    },
    /// A file is in its place.
    Write {
        /// Bytes written.
        bytes: u64,
    },
    /// It is done, and there is nothing to say about it.
    Nothing,
    /// Yes or no.
    Truth(bool),
    /// What a path is.
    Info(FileInfo),
    /// A file was edited.
    Edited(Edited),
    /// A walk is over.
    Walked {
        /// Lines sent.
        items: u64,
    },
    /// Processes with an id.
    Processes(Vec<ProcessInfo>),
    /// Terminals.
    Ptys(Vec<PtyInfo>),
    /// What the sandbox starts with is up, or will not be.
    Booted(Booted),
    /// The sandbox's user.
    Whoami(Whoami),
    /// The stream is gone on with in another one.
    Parted(Parted),
    /// It has its own token, names and randomness.
    Renewed(Renewed),
    /// The inside, as the agent sees it.
    Status(Status),
}

/// What an edit changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// The change as a unified diff, the file's path on both sides; empty if nothing changed.
    pub diff: String,
    /// Occurrences replaced, over all edits.
    pub replacements: u64,
}

/// The sandbox's user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whoami {
    /// The user's name; the number where it has no name.
    pub user: String,
    /// The user's number.
    pub uid: u32,
    /// The number of the user's group.
    pub gid: u32,
    /// The user's home directory.
    pub home: String,
    /// Where processes start.
    pub workdir: String,
}

/// How a process ended. Exactly what the kernel said: nothing is invented here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecEnd {
    /// What the process passed to `exit`; absent when a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it; absent when it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Who ended it.
    pub cause: ExecCause,
}

/// Who ended a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecCause {
    /// Itself, or somebody inside.
    Itself,
    /// The agent, because its time was up.
    Timeout,
    /// The agent, because the sandbox was running out of memory.
    OutOfMemory,
    /// The agent, because the node cancelled the request.
    Cancelled,
    /// Nobody: it could not be started. Only of what the sandbox starts with ([`boot`]); its errors say why.
    NotStarted,
}

/// What the agent knows of the inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the agent's build.
    pub agent_version: String,
    /// Seconds since the agent started.
    pub uptime_seconds: u64,
    /// Processes and threads of the sandbox, the agent's own left out.
    pub processes: u32,
    /// Requests under way.
    pub requests: u32,
    /// Memory of the sandbox, in bytes.
    pub memory_total_bytes: u64,
    /// Memory still to be had, in bytes.
    pub memory_available_bytes: u64,
    /// Resident memory of the agent itself, in bytes.
    pub agent_resident_bytes: u64,
    /// Processes killed for memory since the agent started.
    pub memory_kills: u32,
}

/// A request that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure.
    pub code: ErrorCode,
    /// For people; names the path or program.
    pub message: String,
}

impl Error {
    /// A failure of this kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The kinds of failure a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// No such file, directory, program or user.
    NotFound,
    /// The sandbox user may not.
    PermissionDenied,
    /// A directory where a file was wanted.
    IsADirectory,
    /// A file where a directory was wanted.
    NotADirectory,
    /// It is there already.
    AlreadyExists,
    /// A directory that has something in it.
    NotEmpty,
    /// The disk of the sandbox is full.
    DiskFull,
    /// The sandbox has as many processes as it may.
    ProcessLimit,
    /// A named limit of this protocol was passed.
    TooLarge,
    /// The sandbox has as many of these as it may.
    TooMany,
    /// It is not in a state for this: ended, or without input.
    WrongState,
    /// The request makes no sense.
    Invalid,
    /// This agent does not know such a request.
    Unsupported,
    /// The node cancelled it.
    Cancelled,
    /// Nothing was taken of what this stream sends, for too long while others waited for it.
    Stalled,
    /// Anything else the kernel said.
    Io,
}
