//! The way into a thread: what the node sends on the stream of its request.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use wire::guest::Error;

use super::{Files, PIECES_MAX};
use crate::connection::stream::Stream;
use crate::failure;
use crate::sandbox::Sandbox;

/// What the thread is handed. A way that ends without [`Piece::End`] was cut.
enum Piece {
    Data(Bytes),
    End,
}

/// A thread's side.
pub struct Hearer(mpsc::Receiver<Piece>);

/// Runs `work` in a thread of the sandbox's user, and hands it what the node sends.
pub async fn hearing<T: Send + 'static>(
    files: &Files,
    sandbox: &Arc<Sandbox>,
    stream: &Stream,
    work: impl FnOnce(&Sandbox, Hearer) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let inside = sandbox.clone();
    let work = move || work(&inside, Hearer(pieces));
    let ending = tokio::select! {
        ending = files.start(Some(sandbox.identity.clone()), work) => ending?,
        () = stream.cancelled() => return Err(failure::cancelled()),
    };
    tokio::select! {
        () = relay(stream, sender) => {}
        () = stream.cancelled() => {}
    }
    // The sender is gone by now: after a cancel, the thread cleans up and says so.
    super::ended(ending).await
}

/// Hands over what arrives, until its end or until the thread has had enough.
async fn relay(stream: &Stream, sender: mpsc::Sender<Piece>) {
    while let Some(bytes) = stream.received().await {
        let length = bytes.len();
        if sender.send(Piece::Data(bytes)).await.is_err() {
            return;
        }
        stream.used_up(length).await;
    }
    // The thread has failed already: its answer says why.
    let _ = sender.send(Piece::End).await;
}

impl Hearer {
    /// The next piece; `None` at the end. Fails if the way was cut.
    pub fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self.0.blocking_recv() {
            Some(Piece::Data(bytes)) => Ok(Some(bytes)),
            Some(Piece::End) => Ok(None),
            None => Err(failure::cancelled()),
        }
    }
}
