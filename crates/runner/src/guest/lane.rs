//! One stream, between the driver of its connection and the two halves of its call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use wire::guest::frame::{Channel, INITIAL_CREDIT_BYTES};
use wire::guest::{Head, Outcome};

use super::error::Violation;
use super::inbox::Inbox;
use super::{Cause, Event, GuestError};

/// See the module.
#[derive(Debug)]
pub(super) struct Lane(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    inbox: Inbox,
    /// Bytes that may be sent to the agent.
    credit: u64,
    ending: Ending,
    receiver: Option<Waker>,
    sender: Option<Waker>,
}

/// How far a stream's end is.
#[derive(Debug)]
enum Ending {
    /// It goes on.
    No,
    /// Its receiver is gone. What still comes is thrown away.
    Abandoned,
    /// The agent has ended it; what was said before may still wait to be taken.
    Ended,
    /// The connection broke first.
    Broken(Arc<Cause>),
}

impl Lane {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Inner {
            inbox: Inbox::new(),
            credit: u64::from(INITIAL_CREDIT_BYTES),
            ending: Ending::No,
            receiver: None,
            sender: None,
        }))
    }

    // What the driver brings.

    pub(super) fn head(&self, head: Head) -> Result<(), Violation> {
        self.deliver(|inbox| inbox.push_head(head))
    }

    pub(super) fn data(&self, channel: Channel, data: &Bytes) -> Result<(), Violation> {
        self.deliver(|inbox| inbox.push_data(channel, data))
    }

    pub(super) fn eof(&self, channel: Channel) -> Result<(), Violation> {
        self.deliver(|inbox| inbox.push_eof(channel))
    }

    pub(super) fn credit(&self, bytes: u32) {
        let mut inner = self.lock();
        inner.credit = inner.credit.saturating_add(u64::from(bytes));
        wake(inner, |inner| [inner.sender.take(), None]);
    }

    pub(super) fn end(&self, outcome: Outcome) {
        let mut inner = self.lock();
        if matches!(inner.ending, Ending::No) {
            inner.inbox.push_end(outcome);
            inner.ending = Ending::Ended;
        }
        wake(inner, |inner| [inner.sender.take(), inner.receiver.take()]);
    }

    pub(super) fn fail(&self, cause: &Arc<Cause>) {
        let mut inner = self.lock();
        inner.ending = Ending::Broken(cause.clone());
        wake(inner, |inner| [inner.sender.take(), inner.receiver.take()]);
    }

    fn deliver(&self, push: impl FnOnce(&mut Inbox) -> Result<(), Violation>) -> Result<(), Violation> {
        let mut inner = self.lock();
        push(&mut inner.inbox)?;
        if matches!(inner.ending, Ending::Abandoned) {
            inner.inbox.discard();
        }
        wake(inner, |inner| [inner.receiver.take(), None]);
        Ok(())
    }

    // What the halves of a call take.

    /// The next event, and how many bytes to grant the agent for it.
    ///
    /// What arrived before the connection broke is still delivered, then the error.
    pub(super) fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Result<(Event, Option<u32>), GuestError>> {
        let mut inner = self.lock();
        if let Some(event) = inner.inbox.take() {
            return Poll::Ready(Ok((event, inner.inbox.grant())));
        }
        match &inner.ending {
            Ending::Broken(cause) => Poll::Ready(Err(GuestError::Broken(cause.clone()))),
            Ending::Ended | Ending::Abandoned => Poll::Ready(Err(GuestError::Over)),
            Ending::No => {
                remember(&mut inner.receiver, cx);
                Poll::Pending
            }
        }
    }

    /// Leave to send so many bytes, `wanted` at most and one at least.
    pub(super) fn poll_credit(&self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, GuestError>> {
        let mut inner = self.lock();
        match &inner.ending {
            Ending::Broken(cause) => return Poll::Ready(Err(GuestError::Broken(cause.clone()))),
            Ending::Ended | Ending::Abandoned => return Poll::Ready(Err(GuestError::Over)),
            Ending::No => {}
        }
        let granted = inner.credit.min(wanted as u64);
        if granted == 0 {
            remember(&mut inner.sender, cx);
            return Poll::Pending;
        }
        inner.credit -= granted;
        Poll::Ready(Ok(granted as usize))
    }

    /// Throws away what was said and what will be. True if the agent has not ended the stream yet.
    pub(super) fn abandon(&self) -> bool {
        let mut inner = self.lock();
        inner.inbox.discard();
        let live = matches!(inner.ending, Ending::No);
        if live {
            inner.ending = Ending::Abandoned;
        }
        wake(inner, |inner| [inner.sender.take(), None]);
        live
    }

    /// True until the agent ended the stream, its receiver went, or the connection broke.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.lock().ending, Ending::No)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes after the lock is given up, so that nobody wakes up only to wait for it.
fn wake(mut inner: MutexGuard<'_, Inner>, take: impl FnOnce(&mut Inner) -> [Option<Waker>; 2]) {
    let wakers = take(&mut inner);
    drop(inner);
    wakers.into_iter().flatten().for_each(Waker::wake);
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}
