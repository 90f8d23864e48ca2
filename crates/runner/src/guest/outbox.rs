//! What waits to be written to an agent: one buffer, so that frames of many
//! requests leave in one write.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use tokio::sync::{Notify, Semaphore};
use wire::guest::frame::{Body, Frame};

/// Bytes that may wait to be written on one connection; whoever has more waits for room, first come first served.
///
/// The three small frames that never wait (`Eof`, `Cancel`, `Credit`) come on
/// top: a handful a stream, since credit follows data that followed credit.
pub const OUTBOX_BYTES_MAX: usize = 1024 * 1024;

/// A buffer larger than this is not kept for the next batch.
const SPARE_BYTES_MAX: usize = 16 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Outbox {
    pending: Mutex<Batch>,
    room: Semaphore,
    ready: Notify,
}

/// Frames to write at once, and the room they took.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: BytesMut,
    charge: usize,
}

/// The connection is gone: nothing will be written any more.
#[derive(Debug)]
pub(super) struct Gone;

impl Outbox {
    pub(super) fn new() -> Self {
        let room = Semaphore::new(OUTBOX_BYTES_MAX);
        Self { pending: Mutex::default(), room, ready: Notify::new() }
    }

    /// Queues a frame of any size once there is room for it.
    pub(super) async fn push(&self, frame: &Frame) -> Result<(), Gone> {
        let charge = payload_bytes(&frame.body).min(OUTBOX_BYTES_MAX);
        let permits = u32::try_from(charge).map_err(|_| Gone)?;
        self.room.acquire_many(permits).await.map_err(|_| Gone)?.forget();
        self.append(frame, charge);
        Ok(())
    }

    /// Queues a frame that must not wait, and is small.
    pub(super) fn push_now(&self, frame: &Frame) {
        if !self.room.is_closed() {
            self.append(frame, 0);
        }
    }

    fn append(&self, frame: &Frame, charge: usize) {
        let mut pending = self.pending();
        let first = pending.bytes.is_empty();
        frame.encode(&mut pending.bytes);
        pending.charge += charge;
        drop(pending);
        if first {
            self.ready.notify_one();
        }
    }

    /// All that is queued, as soon as there is something. `spare` is the buffer for what comes next.
    pub(super) async fn take(&self, spare: BytesMut) -> Batch {
        while self.pending().bytes.is_empty() {
            self.ready.notified().await;
        }
        std::mem::replace(&mut self.pending(), Batch { bytes: spare, charge: 0 })
    }

    /// Gives the room of a written batch back, and its buffer for the next.
    pub(super) fn written(&self, batch: Batch) -> BytesMut {
        self.room.add_permits(batch.charge);
        let mut spare = batch.bytes;
        spare.clear();
        if spare.capacity() > SPARE_BYTES_MAX { BytesMut::new() } else { spare }
    }

    /// From now on nothing is queued, and nobody waits for room.
    pub(super) fn close(&self) {
        self.room.close();
        *self.pending() = Batch::default();
    }

    fn pending(&self) -> MutexGuard<'_, Batch> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn payload_bytes(body: &Body) -> usize {
    match body {
        Body::Hello(bytes) | Body::Open(bytes) | Body::Head(bytes) | Body::End(bytes) => bytes.len(),
        Body::Data(_, bytes) => bytes.len(),
        Body::Eof(_) | Body::Credit(_) | Body::Cancel => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::FutureExt;
    use wire::guest::frame::{Channel, DATA_BYTES_MAX};

    fn data() -> Frame {
        Frame::new(1, Body::Data(Channel::Stdin, Bytes::from(vec![0; DATA_BYTES_MAX])))
    }

    #[tokio::test]
    async fn who_has_more_than_the_outbox_holds_waits_until_it_is_written() {
        let outbox = Outbox::new();
        for _ in 0..OUTBOX_BYTES_MAX / DATA_BYTES_MAX {
            outbox.push(&data()).now_or_never().expect("there is room").unwrap();
        }
        let (one_more, mut cancel) = (data(), BytesMut::new());
        let mut waiting = Box::pin(outbox.push(&one_more));
        assert!(waiting.as_mut().now_or_never().is_none());
        outbox.push_now(&Frame::new(1, Body::Cancel));
        let batch = outbox.take(BytesMut::new()).await;
        Frame::new(1, Body::Cancel).encode(&mut cancel);
        assert!(batch.bytes.ends_with(&cancel), "a Cancel waited");
        outbox.written(batch);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_message_larger_than_the_outbox_passes_alone() {
        let outbox = Outbox::new();
        let open = Frame::new(1, Body::Open(Bytes::from(vec![b' '; 3 * OUTBOX_BYTES_MAX])));
        outbox.push(&open).now_or_never().expect("the outbox is empty").unwrap();
        assert!(outbox.push(&data()).now_or_never().is_none());
    }

    #[tokio::test]
    async fn closing_frees_who_waits() {
        let outbox = Outbox::new();
        let open = Frame::new(1, Body::Open(Bytes::from(vec![b' '; OUTBOX_BYTES_MAX])));
        outbox.push(&open).await.unwrap();
        let one_more = data();
        let waiting = outbox.push(&one_more);
        outbox.close();
        assert!(waiting.await.is_err());
    }
}
