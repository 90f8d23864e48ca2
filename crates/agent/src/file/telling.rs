//! The way out of a thread: what it says, on the stream of its request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;
use wire::guest::frame::Channel;
use wire::guest::{Error, Head};

use super::{Files, PIECE_BYTES, PIECES_MAX};
use crate::connection::stream::Stream;
use crate::failure;
use crate::sandbox::Sandbox;

/// Lines are sent together when there is a piece of them, or after this time.
const LINES_WAIT: Duration = Duration::from_millis(200);

enum Said {
    Head(Head),
    Data(Bytes),
}

/// A thread's side. It waits while nobody takes what it says.
pub struct Teller(mpsc::Sender<Said>);

/// Runs `work` in a thread of the sandbox's user, and sends what it says.
pub async fn telling<T: Send + 'static>(
    files: &Files,
    sandbox: &Arc<Sandbox>,
    stream: &Stream,
    work: impl FnOnce(&Sandbox, Teller) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (sender, mut said) = mpsc::channel(PIECES_MAX);
    let inside = sandbox.clone();
    let work = move || work(&inside, Teller(sender));
    let ending = tokio::select! {
        ending = files.start(Some(sandbox.identity.clone()), work) => ending?,
        () = stream.cancelled() => return Err(failure::cancelled()),
    };
    tokio::select! {
        () = relay(&mut said, stream) => {}
        () = stream.cancelled() => return Err(failure::cancelled()),
    }
    // If the connection broke, the thread waits to hand more over, and must hear that nobody takes it.
    drop(said);
    super::ended(ending).await
}

async fn relay(said: &mut mpsc::Receiver<Said>, stream: &Stream) {
    while let Some(piece) = said.recv().await {
        match piece {
            Said::Head(head) => stream.head(&head).await,
            Said::Data(bytes) => {
                if !stream.send(Channel::Stdout, bytes).await {
                    return;
                }
            }
        }
    }
}

impl Teller {
    /// Says what comes before the data.
    pub fn head(&self, head: Head) -> Result<(), Error> {
        self.hand(Said::Head(head))
    }

    /// Says some data.
    pub fn data(&self, bytes: impl Into<Bytes>) -> Result<(), Error> {
        self.hand(Said::Data(bytes.into()))
    }

    /// Fails if nobody listens any more.
    pub fn check(&self) -> Result<(), Error> {
        if self.0.is_closed() { Err(failure::cancelled()) } else { Ok(()) }
    }

    fn hand(&self, said: Said) -> Result<(), Error> {
        self.0.blocking_send(said).map_err(|_| failure::cancelled())
    }
}

/// Findings of a walk, one JSON value a line.
pub struct Lines {
    teller: Teller,
    buffer: Vec<u8>,
    sent: Instant,
    items: u64,
}

impl Lines {
    /// None yet.
    pub fn new(teller: Teller) -> Self {
        Self { teller, buffer: Vec::new(), sent: Instant::now(), items: 0 }
    }

    /// Says one.
    pub fn say(&mut self, item: &impl Serialize) -> Result<(), Error> {
        // What is said is plain data: it always has a JSON form.
        serde_json::to_writer(&mut self.buffer, item)
            .map_err(|error| failure::invalid(format!("a finding cannot be written: {error}")))?;
        self.buffer.push(b'\n');
        self.items += 1;
        if self.buffer.len() >= PIECE_BYTES { self.send() } else { Ok(()) }
    }

    /// To be called now and then: sends what has waited long enough, and fails if nobody listens any more.
    pub fn breathe(&mut self) -> Result<(), Error> {
        if !self.buffer.is_empty() && self.sent.elapsed() >= LINES_WAIT {
            self.send()?;
        }
        self.teller.check()
    }

    /// Sends the last ones. Returns how many there were.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.send()?;
        Ok(self.items)
    }

    fn send(&mut self) -> Result<(), Error> {
        self.sent = Instant::now();
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.teller.data(std::mem::take(&mut self.buffer))
    }
}
