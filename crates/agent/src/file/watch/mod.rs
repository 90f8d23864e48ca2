//! Directories that are watched ([`wire::guest::watch`]).
//!
//! ```text
//! kernel ── inotify ── watcher (a thread as the user) ── outbox ── deliver ── stream
//!                        │  map     where each watch is
//!                        │  halves  moves of which one half was seen
//!                        └─ fresh   what a look into a new directory has told already
//! ```
//!
//! The thread never waits for the listener: what is not taken stays in the outbox, which is bounded, and says so when it
//! has lost something. So the kernel's queue is read as fast as it fills.

mod base;
mod fresh;
mod halves;
mod look;
mod map;
mod outbox;
mod watcher;

use std::sync::Arc;

use tokio::sync::Semaphore;
use wire::guest::frame::Channel;
use wire::guest::watch::{DIRECTORIES_MAX, WATCHES_MAX, Watch};
use wire::guest::{Done, Error, ErrorCode, Head, Outcome};

use self::outbox::{Outbox, Said};
use self::watcher::Watcher;
use super::Files;
use crate::connection::stream::Stream;
use crate::failure;
use crate::sandbox::Sandbox;

/// What all watches of the sandbox share.
pub struct Watches {
    turns: Arc<Semaphore>,
    directories: Arc<Semaphore>,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(WATCHES_MAX)),
            directories: Arc::new(Semaphore::new(DIRECTORIES_MAX)),
        }
    }
}

/// Watches until the directory is gone, the watch cannot be kept, or nobody wants to hear more.
pub async fn watch(files: &Files, sandbox: &Arc<Sandbox>, stream: &Stream, watch: Watch) -> Outcome {
    let turn = files.watches.turns.clone().try_acquire_owned().map_err(|_| {
        let message = format!("{WATCHES_MAX} watches stand in this sandbox already; close one");
        Error::new(ErrorCode::TooMany, message)
    })?;
    let outbox = Outbox::new().map_err(|error| failure::of("watching", error))?;
    // However this ends: the thread ends with it.
    let hold = outbox.hold();
    let (inside, directories) = (sandbox.clone(), files.watches.directories.clone());
    let thread = {
        let outbox = outbox.clone();
        move || {
            let watched =
                Watcher::establish(&inside, &watch, directories, &outbox).and_then(|mut watcher| {
                    outbox.ready();
                    watcher.listen()
                });
            outbox.over();
            watched
        }
    };
    let ending = Files::spawn(turn, Some(sandbox.identity.clone()), thread)?;
    tokio::select! {
        () = deliver(&outbox, stream) => {}
        () = stream.cancelled() => return Err(failure::cancelled()),
    }
    drop(hold);
    super::ended(ending).await.map(|()| Done::Nothing)
}

/// Sends what the thread says, until it says no more or the connection is broken.
async fn deliver(outbox: &Outbox, stream: &Stream) {
    loop {
        match outbox.next().await {
            Said::Ready => stream.head(&Head::Watching).await,
            Said::Lines => {
                // Only what may be sent is taken: until then it counts as not heard.
                let Some(leave) = stream.leave().await else { return };
                let bytes = outbox.take(leave.bytes_max);
                leave.send(Channel::Stdout, bytes);
            }
            Said::Over => return,
        }
    }
}
