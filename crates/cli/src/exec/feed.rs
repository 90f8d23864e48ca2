//! What a program reads, passed on as it comes.
//!
//! A request of the API has an end and a size, and may not pause for long; what people type has neither. So input goes in
//! bursts: a request takes what comes until nothing has come for a moment, and the next begins with the next piece.

use std::io;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::StatusCode;
use tokio::sync::mpsc;

use crate::client::{Failure, Session, from_pieces, whole};

/// A request ends when nothing has come for so long. Its bytes have long arrived by then: this costs nobody any time.
const BURST_PAUSE: Duration = Duration::from_secs(1);
/// A request takes so many bytes, a quarter of what one may.
const BURST_BYTES: usize = 256 * 1024 * 1024;

/// What became of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// The program has all of it.
    All,
    /// The program reads no more: it has ended, or closed its input.
    Unread,
}

type Pieces = mpsc::Receiver<io::Result<Bytes>>;

/// Passes pieces on to the process at this path, and with `eof` that there are no more.
///
/// # Errors
/// When the input cannot be read, or the server cannot be reached or refuses.
pub async fn feed(session: &Session, process: &str, mut pieces: Pieces, eof: bool) -> Result<Fed> {
    let path = format!("{process}/stdin");
    while let Some(first) = pieces.recv().await {
        if burst(session, &path, first?, &mut pieces).await? == Fed::Unread {
            return Ok(Fed::Unread);
        }
    }
    if !eof {
        return Ok(Fed::All);
    }
    outcome(session.client.upload(&format!("{path}?eof=true"), whole(Bytes::new())).await)
}

/// One request, of this piece and those that follow soon.
async fn burst(session: &Session, path: &str, first: Bytes, pieces: &mut Pieces) -> Result<Fed> {
    let (sender, body) = mpsc::channel(1);
    let upload = session.client.upload(path, from_pieces(body));
    tokio::pin!(upload);
    let passing = pass(first, pieces, sender);
    tokio::pin!(passing);
    tokio::select! {
        // An answer may come early: a process that reads no more.
        sent = &mut upload => outcome(sent),
        failed = &mut passing => {
            failed?;
            outcome(upload.await)
        }
    }
}

/// Passes pieces on until none has come for a while, or the request is large enough.
async fn pass(first: Bytes, pieces: &mut Pieces, sender: mpsc::Sender<io::Result<Bytes>>) -> Result<()> {
    let mut sent_bytes = first.len();
    let mut next = Some(Ok(first));
    while let Some(piece) = next {
        // Nobody takes it: the answer is there.
        if sender.send(Ok(piece?)).await.is_err() {
            return Ok(());
        }
        if sent_bytes >= BURST_BYTES {
            return Ok(());
        }
        next = tokio::time::timeout(BURST_PAUSE, pieces.recv()).await.ok().flatten();
        sent_bytes += next.as_ref().and_then(|piece| piece.as_ref().ok()).map_or(0, Bytes::len);
    }
    Ok(())
}

/// That a process reads no more is no failure: pipes here are like that too.
fn outcome(sent: Result<()>) -> Result<Fed> {
    match sent {
        Ok(()) => Ok(Fed::All),
        Err(error) if reads_no_more(&error) => Ok(Fed::Unread),
        Err(error) => Err(error.context("the command's input")),
    }
}

fn reads_no_more(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(Failure::Refused { status, code, .. }) => {
            *status == StatusCode::CONFLICT && code == "wrong_state"
        }
        _ => false,
    }
}
