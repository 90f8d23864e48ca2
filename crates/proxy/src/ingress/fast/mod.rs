//! The short way of a plain request: one of HTTP/1.1 that has come whole, head and body, as most do. One task reads it, sends
//! it on and carries the answer back, with a buffer for each direction; hyper takes two state machines for that, and
//! channels between them.
//!
//! The door decides about it as about every other ([`Door::admit`]). Whatever is not plain (a body still to come, an
//! upgrade, an expectation, a head that somebody could read in another way) is hyper's from its first byte on, and so is
//! all that follows on its connection: see [`request`].

mod answer;
mod body;
mod lines;
mod relay;
mod request;

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::door::{Caller, Door, no_longer};
use super::passages::Stay;
use super::refusal::Refusal;
use crate::dial::Wire;
pub use lines::Lines;
use request::{Came, Plain};

/// What is read of a client at once, in bytes.
const READ_BYTES: usize = 4 * 1024;
/// What is read of it ahead of the answers, in bytes.
const AHEAD_BYTES_MAX: usize = 16 * 1024;
/// A buffer with so many times the room that is wanted is let go.
const ROOM_FACTOR_MAX: usize = 4;
/// In so many pieces a plain request may come; what comes slower is hyper's.
const PIECES_MAX: usize = 4;
/// How often it is looked whether a wait is over, whatever for.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Serves a connection's requests while they are plain; what has been read of the first that is not, if one comes.
pub async fn serve<S: Wire>(door: &Door, client: &mut S, caller: &Caller) -> Option<Bytes> {
    if caller.place.refusal().is_some() {
        return Some(Bytes::new());
    }
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (ahead, came, out) = Default::default();
    let mut exchange = Exchange { door, caller, client, ahead, came, out, looks };
    loop {
        match exchange.next().await {
            Next::Plain(request) => exchange.answer(request).await.ok()?,
            Next::Other => return Some(exchange.ahead.freeze()),
            Next::None => return None,
        }
    }
}

/// What a client sends next.
enum Next {
    Plain(Box<Plain>),
    /// Something for hyper.
    Other,
    /// Nothing: it left, it was silent for too long, or the server stops.
    None,
}

/// A connection that can be used no more.
struct Over;

/// Why a request has no answer of its app's.
enum End {
    /// Nobody is there to hear one, or has the right to.
    Over,
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A client and what it says.
struct Exchange<'a, S> {
    door: &'a Door,
    caller: &'a Caller,
    client: &'a mut S,
    /// What it has sent and was not answered.
    ahead: BytesMut,
    /// What an app has answered and was not sent on.
    came: BytesMut,
    /// Room for what is sent to either.
    out: BytesMut,
    looks: Interval,
}

impl<S: Wire> Exchange<'_, S> {
    async fn next(&mut self) -> Next {
        let until = Instant::now() + self.door.limits.head_wait;
        for _ in 0..PIECES_MAX {
            if self.ahead.is_empty() && self.read(until).await.is_err() {
                return Next::None;
            }
            match request::read(&self.ahead, &self.door.limits) {
                Came::Plain(request) => {
                    self.ahead.advance(request.bytes);
                    return Next::Plain(request);
                }
                Came::Other => return Next::Other,
                Came::Part if self.ahead.len() >= AHEAD_BYTES_MAX => return Next::Other,
                Came::Part if self.read(until).await.is_err() => return Next::None,
                Came::Part => {}
            }
        }
        Next::Other
    }

    /// Reads more of the client.
    async fn read(&mut self, until: Instant) -> Result<(), Over> {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(read) = poll_read(self.client, cx, &mut self.ahead, READ_BYTES) {
                return Poll::Ready(read.ok().filter(|read| *read > 0).map(|_| ()).ok_or(Over));
            }
            while self.looks.poll_tick(cx).is_ready() {
                // Who says nothing takes no room.
                (self.came, self.out) = (BytesMut::new(), BytesMut::new());
                let is_idle = self.ahead.is_empty() && *self.caller.stopping.borrow();
                if is_idle || Instant::now() >= until {
                    return Poll::Ready(Err(Over));
                }
            }
            Poll::Pending
        })
        .await
    }

    async fn answer(&mut self, request: Box<Plain>) -> Result<(), Over> {
        let (wants_page, is_head) = (request.wants_page, request.is_head());
        match self.pass(request).await {
            Ok(()) => Ok(()),
            Err(End::Over) => Err(Over),
            Err(End::Refused(refusal)) => self.refuse(&refusal, wants_page, is_head).await,
        }
    }

    async fn refuse(&mut self, refusal: &Refusal, wants_page: bool, is_head: bool) -> Result<(), Over> {
        self.door.tally.refused(refusal);
        let is_last = *self.caller.stopping.borrow();
        let bytes = answer::refused(refusal.answer(wants_page), is_head, is_last);
        let written = self.client.write_all(&bytes).await.and(self.client.flush().await);
        if is_last { Err(Over) } else { written.map_err(|_| Over) }
    }

    /// Does something while it is looked whether the client is still there, and may be.
    async fn meanwhile<T>(&mut self, stay: Option<&Stay>, what: impl Future<Output = T>) -> Result<T, End> {
        let mut what = pin!(what);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = what.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            while self.looks.poll_tick(cx).is_ready() {
                if stay.is_some_and(Stay::is_over) {
                    return Poll::Ready(Err(no_longer().into()));
                }
            }
            self.poll_left(cx).map(|()| Err(End::Over))
        })
        .await
    }

    /// Completes when the client has left. What it says meanwhile is kept for later.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ahead.len() < AHEAD_BYTES_MAX {
            match ready!(poll_read(self.client, cx, &mut self.ahead, READ_BYTES)) {
                Ok(read) if read > 0 => {}
                _ => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

/// Reads into `buffer`, which, when nothing is in it, has about so much room.
fn poll_read<S: AsyncRead + Unpin + ?Sized>(
    stream: &mut S,
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
    room: usize,
) -> Poll<io::Result<usize>> {
    if buffer.is_empty() {
        if buffer.capacity() > ROOM_FACTOR_MAX * room {
            *buffer = BytesMut::new();
        }
        buffer.clear();
        buffer.reserve(room);
    }
    // It keeps nothing when it is dropped: what has been read is in the buffer.
    pin!(stream.read_buf(buffer)).poll(cx)
}
