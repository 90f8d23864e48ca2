//! What a connection's driver and its calls share: the streams under way and the outbox.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::SetOnce;
use wire::guest::frame::{Body, CONNECTION, Frame, STREAMS_MAX};
use wire::guest::{Head, Outcome};

use super::error::Violation;
use super::lane::Lane;
use super::outbox::Outbox;
use super::{Cause, GuestError};

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    streams: Mutex<Streams>,
    pub(super) outbox: Outbox,
    /// Frames that came from the agent.
    pub(super) heard: AtomicU64,
    /// Set once, when nothing more is to be asked.
    pub(super) finishing: SetOnce<()>,
    /// Set once, when the connection is gone.
    pub(super) broken: SetOnce<Arc<Cause>>,
}

#[derive(Debug)]
struct Streams {
    /// Streams the agent has not ended. Those abandoned count, for the agent still works on them.
    lanes: HashMap<u32, Arc<Lane>>,
    /// The number of the next stream; none when all have been used.
    next: Option<u32>,
}

impl Shared {
    pub(super) fn new() -> Self {
        let streams = Streams { lanes: HashMap::new(), next: Some(CONNECTION + 1) };
        Self {
            streams: Mutex::new(streams),
            outbox: Outbox::new(),
            heard: AtomicU64::new(0),
            finishing: SetOnce::new(),
            broken: SetOnce::new(),
        }
    }

    /// A new stream. Nothing has been said on it yet.
    pub(super) fn register(&self) -> Result<(u32, Arc<Lane>), GuestError> {
        let mut streams = self.streams();
        if let Some(cause) = self.broken.get() {
            return Err(GuestError::Broken(cause.clone()));
        }
        if streams.lanes.len() >= STREAMS_MAX {
            return Err(GuestError::TooManyStreams);
        }
        let number = streams.next.ok_or_else(|| GuestError::broken(Cause::Exhausted))?;
        streams.next = number.checked_add(1);
        let lane = Arc::new(Lane::new());
        streams.lanes.insert(number, lane.clone());
        Ok((number, lane))
    }

    /// Forgets a stream that the agent never heard of.
    pub(super) fn forget(&self, number: u32) {
        self.streams().lanes.remove(&number);
    }

    /// Takes a frame of the agent's where it belongs.
    pub(super) fn deliver(&self, frame: Frame) -> Result<(), Cause> {
        let stream = frame.stream;
        self.heard.fetch_add(1, Ordering::Relaxed);
        self.dispatch(frame).map_err(|violation| Cause::Violation { stream, violation })
    }

    fn dispatch(&self, frame: Frame) -> Result<(), Violation> {
        match frame.body {
            Body::Data(channel, data) => self.lane(frame.stream)?.data(channel, &data),
            Body::Head(json) => self.lane(frame.stream)?.head(parse::<Head>(&json)?),
            Body::Eof(channel) => self.lane(frame.stream)?.eof(channel),
            Body::End(json) => self.end(frame.stream, parse::<Outcome>(&json)?),
            Body::Credit(bytes) => self.credit(frame.stream, bytes),
            Body::Hello(_) | Body::Open(_) | Body::Cancel => Err(Violation::Kind),
        }
    }

    fn end(&self, number: u32, outcome: Outcome) -> Result<(), Violation> {
        let lane = self.streams().lanes.remove(&number).ok_or(Violation::NoSuchStream)?;
        lane.end(outcome);
        Ok(())
    }

    fn credit(&self, number: u32, bytes: u32) -> Result<(), Violation> {
        self.lane(number)?.credit(bytes);
        Ok(())
    }

    fn lane(&self, number: u32) -> Result<Arc<Lane>, Violation> {
        self.streams().lanes.get(&number).cloned().ok_or(Violation::NoSuchStream)
    }

    /// The connection is gone: everything under way on it has failed. Only the first cause counts.
    pub(super) fn fail(&self, cause: Cause) {
        let cause = Arc::new(cause);
        let mut streams = self.streams();
        if self.broken.set(cause.clone()).is_err() {
            return;
        }
        let lanes = std::mem::take(&mut streams.lanes);
        drop(streams);
        self.outbox.close();
        lanes.values().for_each(|lane| lane.fail(&cause));
    }

    /// The error for a caller who found the connection gone.
    pub(super) fn gone(&self) -> GuestError {
        match self.broken.get() {
            Some(cause) => GuestError::Broken(cause.clone()),
            None => GuestError::broken(Cause::Closed),
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &Bytes) -> Result<T, Violation> {
    serde_json::from_slice(json).map_err(|_| Violation::Json)
}
