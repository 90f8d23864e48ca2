//! What the node says to the launcher: one [`Envelope`] and one [`Reply`] a
//! connection, each as JSON after its length in four bytes, big-endian.

use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Changes with every change of meaning. A launcher of another version is replaced: it is asked to [`Request::Quit`],
/// which is the one request that must never change.
pub(crate) const VERSION: u32 = 1;
/// A message, in bytes, at most.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// In the arguments of [`Request::Run`]: where the disk that was prepared for the same key is mounted.
pub(crate) const DISK_PLACEHOLDER: &str = "{disk}";

/// A request and the version of whoever makes it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub version: u32,
    pub request: Request,
}

/// What can be asked. A key is a sandbox's id.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Are you there?
    Hello,
    /// Mount an image below the directories of `skeleton`, unless it is; [`Reply::Image`].
    Image { file: PathBuf, skeleton: PathBuf },
    /// Mount a disk for the `Run` of the same key that follows; [`Reply::Done`].
    Disk { key: String, file: PathBuf },
    /// Run a program to its end; [`Reply::Ran`]. What it leaves behind is reaped and its output watched.
    Run { key: String, program: PathBuf, args: Vec<String>, bound_ms: u64 },
    /// Kill the program of this key, forget its disk and its output; [`Reply::Done`] when all is gone.
    Drop { key: String },
    /// How a process that was left behind by a `Run` of this key ended; [`Reply::Exit`].
    Exit { key: String, pid: i32 },
    /// End. Sandboxes run on.
    Quit,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The answer to `Hello`, and to every request of another version but `Quit`.
    Hello {
        version: u32,
    },
    Image {
        directory: PathBuf,
    },
    Ran(Ran),
    Exit(ExitReport),
    Done,
    /// It could not be done, and why.
    Failed {
        message: String,
    },
}

/// How a program ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ran {
    /// Absent if it was killed because its time was up.
    pub status: Option<Status>,
    /// The last of what it wrote.
    pub output: String,
}

/// What is known of a process that ended.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ExitReport {
    /// Absent if the launcher was not its parent.
    pub status: Option<Status>,
    /// The last of what it wrote.
    pub output: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It exited.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Sends a message.
pub(crate) async fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    if json.len() > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a message to or from the launcher is too long",
        ));
    }
    let mut bytes = (json.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&json);
    stream.write_all(&bytes).await
}

/// Receives a message.
pub(crate) async fn receive<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let length = stream.read_u32().await? as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message to or from the launcher is too long",
        ));
    }
    let mut json = vec![0; length];
    stream.read_exact(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}
