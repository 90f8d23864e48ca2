//! Files in a sandbox. What can be large goes through piece by piece: no file and no listing is ever held whole.

mod bundles;
mod call;
mod lines;
pub mod multipart;
mod transfer;
mod tree;
mod walk;
mod watch;

pub use bundles::{Piece, ReadingAll, check_there, read_all, write_all};
pub use call::{edit, edit_all, exists, nothing, stat};
pub use transfer::{read, write};
pub use walk::{Told, walk};
pub use watch::watch;

use std::time::Duration;

use crate::error::{Error, Result};

/// How long the agent may take over one piece of a file, or over its last word on it.
const PIECE_WAIT: Duration = Duration::from_secs(60);
/// How long one operation on files, or a walk that finds nothing, may take. Clients in use wait for 300 s.
const OPERATION_WAIT: Duration = Duration::from_secs(280);

async fn bounded<T>(what: &'static str, bound: Duration, wait: impl Future<Output = T>) -> Result<T> {
    let slow = |_| Error::Slow { what, seconds: bound.as_secs() };
    tokio::time::timeout(bound, wait).await.map_err(slow)
}

fn another_question() -> Error {
    Error::Broken("the agent answered another question".into())
}
