//! Packs of one store, sent while others are still being made.
//!
//! At most [`super::UPLOADS_MAX`] packs are under way, and each thread that makes chunks waits with one more when there
//! are: with packs of [`PACK_BYTES_MAX`] that is 128 MiB for a process with one store under way.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

use super::{Bucket, upload};
use crate::snapshot::error::{Error, Result};
use crate::snapshot::objects::{Kind, PackName};

/// Bytes of a pack: enough that requests do not count, and little enough to be held.
const PACK_BYTES_MAX: usize = 16 << 20;

pub(in crate::snapshot) struct BucketPacks<'a> {
    bucket: &'a Bucket,
    batch: u128,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What comes next, and which pack it will be.
    buffer: Vec<u8>,
    number: u32,
    sent: u64,
    under_way: Vec<Upload>,
}

/// A pack that is being sent.
struct Upload {
    outcome: mpsc::Receiver<Result<()>>,
    task: tokio::task::AbortHandle,
}

impl<'a> BucketPacks<'a> {
    pub(super) fn begin(bucket: &'a Bucket, batch: u128) -> Self {
        Self { bucket, batch, state: Mutex::default() }
    }
}

impl BucketPacks<'_> {
    pub(in crate::snapshot::objects) fn append(&self, sealed: &[u8]) -> Result<(PackName, u32)> {
        let mut state = self.lock();
        let full =
            if state.buffer.len() + sealed.len() > PACK_BYTES_MAX { self.next(&mut state) } else { None };
        let name = PackName { batch: self.batch, number: state.number };
        let offset = u32::try_from(state.buffer.len()).unwrap_or(u32::MAX);
        state.buffer.extend_from_slice(sealed);
        drop(state);
        full.map_or(Ok(()), |(name, bytes)| self.send(name, bytes))?;
        Ok((name, offset))
    }

    pub(in crate::snapshot::objects) fn finish(&self) -> Result<u64> {
        let last = self.next(&mut self.lock());
        last.map_or(Ok(()), |(name, bytes)| self.send(name, bytes))?;
        let (under_way, sent) = {
            let mut state = self.lock();
            (mem::take(&mut state.under_way), mem::take(&mut state.sent))
        };
        let died = || self.bucket.client.unreachable("the thread that sent a pack died".into());
        let outcomes = under_way.iter().map(|upload| upload.outcome.recv().unwrap_or_else(|_| Err(died())));
        outcomes.fold(Ok(()), Result::and)?;
        Ok(sent)
    }

    /// What is under way is not sent to its end; what was sent is found by a collection.
    pub(in crate::snapshot::objects) fn abandon(&self) {
        self.lock().under_way.iter().for_each(|upload| upload.task.abort());
    }

    /// What is in the buffer, to be sent, and another pack in its place.
    fn next(&self, state: &mut State) -> Option<(PackName, Vec<u8>)> {
        if state.buffer.is_empty() {
            return None;
        }
        let name = PackName { batch: self.batch, number: state.number };
        state.number += 1;
        state.sent += state.buffer.len() as u64;
        Some((name, mem::take(&mut state.buffer)))
    }

    /// Begins to send a pack, once it is its turn.
    fn send(&self, name: PackName, bytes: Vec<u8>) -> Result<()> {
        let bucket = self.bucket;
        let turns = bucket.uploads.clone();
        let closed =
            |error| Error::Io { what: "wait for a turn".into(), source: std::io::Error::other(error) };
        let turn = bucket.wait(async move { turns.acquire_owned().await.map_err(closed) })?;
        let key = format!("{}{}{name}", bucket.prefix, Kind::Packs.dir());
        let sending = upload(bucket.client.clone(), key, bytes.into());
        let (teller, outcome) = mpsc::channel();
        let Some(runtime) = &bucket.runtime else { return Ok(()) };
        let task = runtime.spawn(async move {
            let sent = sending.await;
            drop(turn);
            let _ = teller.send(sent);
        });
        self.lock().under_way.push(Upload { outcome, task: task.abort_handle() });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
