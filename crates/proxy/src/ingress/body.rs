//! Bodies on their way, piece by piece: nothing is gathered, nothing is held back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::headers;
use super::limits::Guest;

/// Why a body broke off.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

/// What is answered.
pub type AnswerBody = UnsyncBoxBody<Bytes, Broken>;

/// An answer of our own.
pub fn full(bytes: Bytes) -> AnswerBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A client's body, which may not stall.
pub struct Sent {
    body: Incoming,
    idle: Duration,
    /// While a piece is waited for.
    waiting: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl Sent {
    /// `body`, in which no piece may take longer than `idle`.
    pub fn new(body: Incoming, idle: Duration) -> Self {
        Self { body, idle, waiting: Box::pin(sleep(idle)), is_waiting: false }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.is_waiting = false;
            return Poll::Ready(frame.map(|frame| Ok(checked(frame?))));
        }
        if !self.is_waiting {
            self.is_waiting = true;
            let deadline = Instant::now() + self.idle;
            self.waiting.as_mut().reset(deadline);
        }
        ready!(self.waiting.as_mut().poll(cx));
        let what = format!("no more of the body came within {} s", self.idle.as_secs());
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, what).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn checked(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            headers::trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// An app's answer: the request is under way until its end.
pub struct Answered {
    body: Incoming,
    _guest: Guest,
}

impl Answered {
    /// `body`, which `guest` asked for.
    pub fn new(body: Incoming, guest: Guest) -> Self {
        Self { body, _guest: guest }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| Ok(frame?)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
