//! File work in an asynchronous program.

use crate::{Error, Result};

/// Runs file work where it does not hold up the rest of the node.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::Task { what, source })?
}
