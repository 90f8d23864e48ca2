//! Commands in a sandbox, and processes that outlive their connection.

mod batch;
mod end;
mod events;
mod execute;
mod input;
mod kept;

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use wire::guest::{Exec, Request};

use crate::error::Error;

pub use batch::{Batch, batch};
pub use end::exit_code;
pub use events::{Telling, attach, stream};
pub use execute::{execute, ran};
pub use input::send;
pub use kept::{forget, get, list, signal, start, wait};

/// How long after a command's own time is up its end must have been heard of.
const GRACE: Duration = Duration::from_secs(30);

/// How long a command may take to start.
const START_WAIT: Duration = Duration::from_secs(30);

/// A command somebody wants run.
#[derive(Debug, Clone)]
pub struct Order {
    /// What, where, as whom and with which environment.
    pub exec: Exec,
    /// Its time, in seconds; `None`: until it ends.
    pub timeout_seconds: Option<u32>,
    /// What it reads before the end of its input.
    pub stdin: Option<Bytes>,
}

/// What makes a process outlive the connection that started it.
#[derive(Debug, Clone)]
pub struct Keep {
    /// Its id.
    pub id: String,
    /// Whether its input stays open after what it is started with.
    pub open_stdin: bool,
}

impl Order {
    fn request(&self, keep: Option<&Keep>) -> Request {
        let timeout_ms = self.timeout_seconds.map(|seconds| u64::from(seconds) * 1000);
        let stdin = self.stdin.is_some() || keep.is_some_and(|keep| keep.open_stdin);
        let id = keep.map(|keep| keep.id.clone());
        Request::Exec(Exec { timeout_ms, stdin, id, ..self.exec.clone() })
    }

    /// When its end must have been heard of.
    fn deadline(&self) -> Option<Instant> {
        let seconds = self.timeout_seconds?;
        Some(Instant::now() + Duration::from_secs(seconds.into()) + GRACE)
    }

    fn overdue(&self) -> Error {
        let seconds = self.timeout_seconds.map_or(0, u64::from) + GRACE.as_secs();
        Error::Slow { what: "hearing of the command's end", seconds }
    }
}

/// Waits until a moment, or for ever.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
