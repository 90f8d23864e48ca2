//! Streams that end because the machine is about to be stopped, and those who come back for what they had not heard
//! ([`wire::guest::part`]).
//!
//! ```text
//! talking ──asked──► ticket ──rejoined──► talking …
//!                       └─────too late──► the process goes on, and nobody hears it
//! ```

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use wire::guest::part::{Parted, REJOIN_SECONDS_MAX, Rejoin};
use wire::guest::{Done, Error, ErrorCode, Outcome};

use super::attach::Hearing;
use crate::awake;
use crate::connection::stream::Stream;

/// Those who are asked to part have so long to do it, in seconds; it is a matter of a moment.
const PART_SECONDS_MAX: u64 = 5;

/// See the module.
#[derive(Default)]
pub struct Parting {
    asked: watch::Sender<Asked>,
    present: watch::Sender<Present>,
    away: RefCell<BTreeMap<u64, Hearing>>,
    last_ticket: Cell<u64>,
}

/// What those who talk are asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Asked {
    #[default]
    Nothing,
    /// To part, if their process would end with its stream.
    ToLeave,
    /// To part and come back.
    ToComeBack,
}

/// Streams that part when they are asked.
#[derive(Debug, Default)]
struct Present {
    /// Those whose process would end with them.
    owners: usize,
    listeners: usize,
}

/// A stream that parts when it is asked. When this is dropped, its last word follows before anybody else has a turn.
pub struct Presence<'a> {
    parting: &'a Parting,
    is_owner: bool,
}

impl Parting {
    /// One more stream; an owner's process would end with it.
    pub fn enter(&self, is_owner: bool) -> Presence<'_> {
        self.present.send_modify(|present| *present.count(is_owner) += 1);
        Presence { parting: self, is_owner }
    }

    /// Has all streams part, and returns when they have. Without a way back listeners stay as they are.
    pub async fn part(&self, rejoinable: bool) {
        self.asked.send_replace(if rejoinable { Asked::ToComeBack } else { Asked::ToLeave });
        let mut present = self.present.subscribe();
        // The sender lives as long as `self`, so there is no error to see.
        let all_left =
            present.wait_for(|present| present.owners == 0 && (present.listeners == 0 || !rejoinable));
        let _ = tokio::time::timeout(Duration::from_secs(PART_SECONDS_MAX), all_left).await;
        self.asked.send_replace(Asked::Nothing);
    }

    /// The stream ends here; the answer says how it is gone on with.
    pub fn leave(self: &Rc<Self>, hearing: Hearing, stream: &Stream) -> Outcome {
        if *self.asked.borrow() != Asked::ToComeBack {
            forget(hearing);
            let message = "the sandbox is being paused; the command goes on when it wakes, and nobody hears what it says";
            return Err(Error::new(ErrorCode::Cancelled, message));
        }
        hearing.listener.set_dear(true);
        let ticket = self.last_ticket.get() + 1;
        self.last_ticket.set(ticket);
        let input = hearing.input.as_ref().is_some_and(|input| input.is_open());
        self.away.borrow_mut().insert(ticket, hearing);
        tokio::task::spawn_local(self.clone().expire(ticket));
        Ok(Done::Parted(Parted { ticket, received: stream.received_bytes(), input }))
    }

    /// Somebody has come back.
    pub fn rejoin(&self, rejoin: Rejoin) -> Result<Hearing, Error> {
        let message = "nobody was waited for any more; the command goes on, and nobody hears what it says";
        self.away.borrow_mut().remove(&rejoin.ticket).ok_or_else(|| Error::new(ErrorCode::Cancelled, message))
    }

    /// Nobody will come back.
    pub fn forget_all(&self) {
        std::mem::take(&mut *self.away.borrow_mut()).into_values().for_each(forget);
    }

    async fn expire(self: Rc<Self>, ticket: u64) {
        awake::sleep(Duration::from_secs(REJOIN_SECONDS_MAX)).await;
        let late = self.away.borrow_mut().remove(&ticket);
        late.into_iter().for_each(forget);
    }
}

/// The process goes on, and nobody hears it.
fn forget(hearing: Hearing) {
    let Some(mut input) = hearing.input else { return };
    let kept = hearing.listener.kept().clone();
    tokio::task::spawn_local(async move {
        let left = async {
            input.leave().await;
            // Closed, it would be taken for ended, which nobody has said.
            std::future::pending().await
        };
        tokio::select! {
            _ = kept.ended() => {}
            () = left => {}
        }
    });
}

impl Present {
    fn count(&mut self, is_owner: bool) -> &mut usize {
        if is_owner { &mut self.owners } else { &mut self.listeners }
    }
}

impl Presence<'_> {
    /// Waits until it is asked to part.
    pub async fn asked(&self) {
        let is_meant =
            |asked: &Asked| *asked == Asked::ToComeBack || self.is_owner && *asked == Asked::ToLeave;
        // The sender lives as long as `self`, so there is no error to see.
        let _ = self.parting.asked.subscribe().wait_for(is_meant).await;
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.parting.present.send_modify(|present| *present.count(self.is_owner) -= 1);
    }
}
