//! Files, read and written as the sandbox's user.
//!
//! The kernel decides what the user may: each operation runs in a thread that
//! has taken the user's identity on, and ends with the operation. A thread never
//! serves twice, so there is no identity to give back.
//!
//! Everything around is hostile: while an operation runs, any name may become a
//! link to somewhere else. So trees are entered by descriptor, one name at a
//! time, and no link on the way is followed ([`tree`]).

mod bundles;
mod call;
mod directory;
mod entry;
mod fresh;
mod hearing;
mod info;
mod lines;
mod operations;
mod pattern;
mod place;
mod read;
mod search;
mod telling;
mod tree;
mod watch;
mod write;

pub use bundles::{read_all, write_all};
pub use call::call;
pub use directory::Directory;
pub use entry::Entry;
pub use read::read;
pub use search::walk;
pub use watch::watch;
pub use write::{put, write};

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use wire::guest::{Error, ErrorCode};

use crate::failure;
use crate::sandbox::users::Identity;

/// Threads for file operations at once; more operations wait.
const THREADS_MAX: usize = 64;
/// Edits at once, of those threads: each holds its file in memory.
const EDITS_MAX: usize = 2;
/// Stack of a thread, in bytes.
const STACK_BYTES: usize = 128 * 1024;
/// Pieces of a file on their way between a thread and the event loop, each [`PIECE_BYTES`] at most.
const PIECES_MAX: usize = 2;
/// A piece of a file, in bytes.
const PIECE_BYTES: usize = wire::guest::frame::DATA_BYTES_MAX;

/// What a file operation came to; an error of the receiver means that the thread is gone.
pub type Ending<T> = oneshot::Receiver<Result<T, Error>>;
type Ended<T> = Result<Result<T, Error>, oneshot::error::RecvError>;

/// Threads for file operations.
pub struct Files {
    threads: Arc<Semaphore>,
    edits: Arc<Semaphore>,
    watches: watch::Watches,
}

impl Default for Files {
    fn default() -> Self {
        let of = |turns| Arc::new(Semaphore::new(turns));
        Self { threads: of(THREADS_MAX), edits: of(EDITS_MAX), watches: watch::Watches::default() }
    }
}

impl Files {
    /// Runs `work` in a thread, as this user, or else as the agent. Waits for its turn.
    pub async fn start<T: Send + 'static>(
        &self,
        identity: Option<Arc<Identity>>,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<Ending<T>, Error> {
        let turn = self.threads.clone().acquire_owned().await.map_err(no_thread)?;
        Self::spawn(turn, identity, work)
    }

    /// The same for whoever has a turn, which ends with the thread.
    fn spawn<T: Send + 'static>(
        turn: OwnedSemaphorePermit,
        identity: Option<Arc<Identity>>,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<Ending<T>, Error> {
        let (sender, ending) = oneshot::channel();
        let thread = std::thread::Builder::new().name("file".into()).stack_size(STACK_BYTES);
        let spawned = thread.spawn(move || {
            let result = identity.map_or(Ok(()), |identity| identity.assume()).and_then(|()| work());
            // Whoever asked may have lost interest.
            let _ = sender.send(result);
            drop(turn);
        });
        spawned.map(|_| ending).map_err(no_thread)
    }
}

fn no_thread(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::Io, format!("no thread for a file operation: {why}"))
}

/// Waits for the end of an operation.
async fn ended<T>(ending: impl Future<Output = Ended<T>>) -> Result<T, Error> {
    ending.await.unwrap_or_else(|_| Err(Error::new(ErrorCode::Io, "the file operation was lost")))
}

fn is_a_directory(path: &Path) -> Error {
    failure::of(path.display(), rustix::io::Errno::ISDIR)
}

fn not_a_regular_file(path: &Path) -> Error {
    failure::invalid(format!("{}: not a regular file", path.display()))
}
