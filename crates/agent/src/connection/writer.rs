//! The way out of a connection: a short queue of frames, and the task that writes them.

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use wire::guest::frame::Frame;

/// Frames waiting to be written. Short: a stream that waits here holds its data in memory.
const QUEUE_FRAMES_MAX: usize = 16;
/// Frames are written together until so many bytes are there.
const WRITE_BYTES: usize = 64 * 1024;

/// Where frames go.
#[derive(Clone)]
pub struct Outgoing(mpsc::Sender<Frame>);

/// Frames on their way out.
pub struct Queue(mpsc::Receiver<Frame>);

/// A place in the queue, for one frame.
pub struct Place<'a>(mpsc::Permit<'a, Frame>);

/// A new way out.
pub fn queue() -> (Outgoing, Queue) {
    let (sender, receiver) = mpsc::channel(QUEUE_FRAMES_MAX);
    (Outgoing(sender), Queue(receiver))
}

impl Outgoing {
    /// Waits for a place and takes it. A broken connection swallows the frame: whoever sent it is cancelled.
    pub async fn send(&self, frame: Frame) {
        let _ = self.0.send(frame).await;
    }

    /// Waits for a place; `None` if the connection is broken.
    pub async fn place(&self) -> Option<Place<'_>> {
        self.0.reserve().await.ok().map(Place)
    }
}

impl Place<'_> {
    /// Takes it.
    pub fn take(self, frame: Frame) {
        self.0.send(frame);
    }
}

/// Writes frames until the connection breaks.
pub async fn write_all(mut queue: Queue, mut stream: impl AsyncWrite + Unpin) {
    while let Some(frame) = queue.0.recv().await {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        while bytes.len() < WRITE_BYTES
            && let Ok(frame) = queue.0.try_recv()
        {
            frame.encode(&mut bytes);
        }
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
