//! One request's stream, as the code that carries the request out sees it.

use bytes::Bytes;
use tokio::sync::watch;
use wire::guest::Head;
use wire::guest::frame::{Body, Channel, DATA_BYTES_MAX, Frame};

use super::credit::Credit;
use super::inbox::{Inbox, Trespass};
use super::writer::{Outgoing, Place};

/// A stream.
pub struct Stream {
    number: u32,
    out: Outgoing,
    credit: Credit,
    inbox: Inbox,
    cancelled: watch::Sender<bool>,
}

/// Leave to send Data: a place in the queue, and how many bytes fit.
pub struct Leave<'a> {
    stream: &'a Stream,
    place: Place<'a>,
    /// Bytes that may be sent; never 0.
    pub bytes_max: usize,
}

impl Stream {
    /// A stream that has just been opened.
    pub(super) fn new(number: u32, out: Outgoing) -> Self {
        let cancelled = watch::Sender::new(false);
        Self { number, out, credit: Credit::initial(), inbox: Inbox::new(), cancelled }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn out(&self) -> &Outgoing {
        &self.out
    }

    pub(super) fn deliver(&self, channel: Channel, bytes: &[u8]) -> Result<(), Trespass> {
        if channel == Channel::Stdin { self.inbox.deliver(bytes) } else { Err(Trespass) }
    }

    pub(super) fn deliver_eof(&self, channel: Channel) -> Result<(), Trespass> {
        if channel != Channel::Stdin {
            return Err(Trespass);
        }
        self.inbox.end();
        Ok(())
    }

    pub(super) fn grant(&self, bytes: u32) {
        self.credit.grant(bytes);
    }

    pub(super) fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Waits until the node has lost interest, or the connection is broken.
    pub async fn cancelled(&self) {
        // The sender lives as long as `self`, so there is no error to see.
        let _ = self.cancelled.subscribe().wait_for(|cancelled| *cancelled).await;
    }

    /// Says what comes before the data.
    pub async fn head(&self, head: &Head) {
        // A head is plain data: it always has a JSON form.
        let json = serde_json::to_vec(head).unwrap_or_default();
        self.out.send(Frame::new(self.number, Body::Head(json.into()))).await;
    }

    /// Waits until Data may be sent. `None` if the connection is broken.
    pub async fn leave(&self) -> Option<Leave<'_>> {
        self.leave_for(1).await
    }

    /// Waits until so many bytes may be sent as one piece, [`DATA_BYTES_MAX`] at most. `None` if the connection is broken.
    pub async fn leave_for(&self, bytes: usize) -> Option<Leave<'_>> {
        loop {
            self.credit.at_least(bytes as u64).await;
            let place = self.out.place().await?;
            // Another channel of this stream may have spent it meanwhile.
            let bytes_max = self.credit.now().min(DATA_BYTES_MAX as u64) as usize;
            if bytes_max >= bytes {
                return Some(Leave { stream: self, place, bytes_max });
            }
        }
    }

    /// Sends bytes as credit allows. False if the connection is broken.
    pub async fn send(&self, channel: Channel, mut bytes: Bytes) -> bool {
        while !bytes.is_empty() {
            let Some(leave) = self.leave().await else { return false };
            let piece = bytes.split_to(leave.bytes_max.min(bytes.len()));
            leave.send(channel, piece);
        }
        true
    }

    /// Waits for Data from the node and takes some; `None` at its Eof.
    pub async fn received(&self) -> Option<Bytes> {
        self.inbox.take().await
    }

    /// Takes what has come and was not taken, without waiting for more. True if its Eof has come.
    pub fn received_rest(&self) -> (Bytes, bool) {
        self.inbox.take_rest()
    }

    /// How many bytes of Data have come.
    pub fn received_bytes(&self) -> u64 {
        self.inbox.delivered()
    }

    /// Lets the node send as much again as was taken and is no longer held.
    pub async fn used_up(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.inbox.grant(bytes);
        self.out.send(Frame::new(self.number, Body::Credit(bytes))).await;
    }
}

impl Leave<'_> {
    /// Sends `bytes`, at most as many as there is leave for, at least one.
    pub fn send(self, channel: Channel, bytes: Bytes) {
        self.stream.credit.spend(bytes.len());
        self.place.take(Frame::new(self.stream.number, Body::Data(channel, bytes)));
    }
}
