//! Bodies on their way, piece by piece: nothing is gathered, nothing is held back.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::door::Visit;
use super::headers;
use super::limits::Limits;
use super::refusal::Refusal;
use super::upstream::Lent;

/// Why a body broke off.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

/// What is answered.
pub type AnswerBody = UnsyncBoxBody<Bytes, Broken>;

/// An answer of our own.
pub fn full(bytes: Bytes) -> AnswerBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Why a client's body was given up.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Shed(pub Refusal);

impl Shed {
    /// Of this limit, with this status.
    fn of(status: StatusCode, limit: &'static str, message: &str) -> Self {
        Self(Refusal::new(status, limit, format!("{message} (`{limit}`)")))
    }
}

/// Whether an app has begun to answer, so that a body whose length is not told is a conversation by now: it may go as fast as
/// its maker has something to say. What gRPC sends is one from the start.
#[derive(Debug, Clone)]
pub struct Answering(Arc<AtomicBool>);

impl Answering {
    /// Of a request that has just come.
    pub fn new(is_conversation: bool) -> Self {
        Self(Arc::new(AtomicBool::new(is_conversation)))
    }

    /// It has.
    pub fn begun(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A client's body, which may not stall, dawdle or go on for ever.
pub struct Sent<B = Incoming> {
    body: B,
    idle: Duration,
    bytes_per_second_min: u64,
    bytes_max: u64,
    answering: Answering,
    /// What has come.
    bytes: u64,
    /// How long the client was waited for, in all: the app may take its time.
    waited: Duration,
    /// While a piece is waited for: since when, and until when.
    since: Option<Instant>,
    until: Option<Pin<Box<Sleep>>>,
}

impl<B: Body> Sent<B> {
    /// `body`, within these limits.
    ///
    /// # Errors
    /// When it says itself that it is too large.
    pub fn new(body: B, limits: &Limits, answering: Answering) -> Result<Self, Refusal> {
        let sent = Self {
            idle: limits.body_idle,
            bytes_per_second_min: limits.body_bytes_per_second_min,
            bytes_max: limits.body_bytes_max.unwrap_or(u64::MAX),
            answering,
            bytes: 0,
            waited: Duration::ZERO,
            since: None,
            until: None,
            body,
        };
        if sent.body.size_hint().lower() > sent.bytes_max { Err(sent.too_large().0) } else { Ok(sent) }
    }

    /// Counts what has come.
    fn take(&mut self, bytes: usize) -> Result<(), Shed> {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        if self.bytes > self.bytes_max {
            return Err(self.too_large());
        }
        if self.dawdles() { Err(self.too_slow()) } else { Ok(()) }
    }

    fn dawdles(&self) -> bool {
        if self.waited <= self.idle || self.body.is_end_stream() {
            return false;
        }
        let expected = self.waited.as_secs().saturating_mul(self.bytes_per_second_min);
        let is_told = self.body.size_hint().exact().is_some();
        self.bytes < expected && (is_told || !self.answering.has_begun())
    }

    /// How long a piece may take that is waited for from now on.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(self.idle)));
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            until.as_mut().reset(now + self.idle);
        }
        until.as_mut().poll(cx)
    }

    fn too_large(&self) -> Shed {
        let message = format!("the body is larger than {} bytes, which is the limit", self.bytes_max);
        Shed::of(StatusCode::PAYLOAD_TOO_LARGE, "body_bytes_max", &message)
    }

    fn too_slow(&self) -> Shed {
        let message = format!("the body came more slowly than {} bytes a second", self.bytes_per_second_min);
        Shed::of(StatusCode::REQUEST_TIMEOUT, "body_bytes_per_second_min", &message)
    }

    fn silent(&self) -> Shed {
        let message = format!("no more of the body came within {} s", self.idle.as_secs());
        Shed::of(StatusCode::REQUEST_TIMEOUT, "body_idle", &message)
    }
}

impl<B> Body for Sent<B>
where
    B: Body<Data = Bytes, Error: Into<Broken>> + Unpin,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let Some(frame) = frame else { return Poll::Ready(None) };
            let frame = frame.map_err(Into::into)?;
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            return Poll::Ready(Some(self.take(bytes).map(|()| checked(frame)).map_err(Into::into)));
        }
        ready!(self.wait(cx));
        Poll::Ready(Some(Err(self.silent().into())))
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
    visit: Visit,
    /// While a piece is waited for: it may be over meanwhile.
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Given back after the body.
    _lent: Lent,
}

/// What let a request in was taken back before its answer had come to its end.
#[derive(Debug, thiserror::Error)]
#[error("what let the request in has been taken back, or has expired")]
struct NoLonger;

impl Answered {
    /// `body`, which comes on a connection that is `lent`, for whom `visit` let in.
    pub fn new(body: Incoming, lent: Lent, visit: Visit) -> Self {
        Self { body, visit, over: None, _lent: lent }
    }

    /// Waits for the end of what let it in, once the body is waited for at all.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = self.over.get_or_insert_with(|| Box::pin(self.visit.stay.over()));
        over.as_mut().poll(cx)
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.visit.stay.is_over() {
            return Poll::Ready(Some(Err(NoLonger.into())));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| Ok(frame?)));
        }
        ready!(self.poll_over(cx));
        Poll::Ready(Some(Err(NoLonger.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt, stream};
    use http_body_util::StreamBody;

    /// So many pieces of so many bytes, so long after each other, of a body whose length is told or not.
    async fn sent(
        pieces: usize,
        bytes: usize,
        apart: Duration,
        is_told: bool,
        answering: &Answering,
    ) -> Result<u64, Shed> {
        let frames = stream::iter(0..pieces).then(move |_| async move {
            sleep(apart).await;
            Ok::<_, Broken>(Frame::data(Bytes::from(vec![0; bytes])))
        });
        let total = is_told.then_some((pieces * bytes) as u64);
        let limits = Limits {
            body_idle: Duration::from_secs(60),
            body_bytes_per_second_min: 100,
            body_bytes_max: Some(1_000_000),
            ..Limits::default()
        };
        let mut sent = Sent::new(Told(StreamBody::new(frames.boxed()), total), &limits, answering.clone())
            .map_err(Shed)?;
        let mut bytes = 0;
        while let Some(frame) = sent.frame().await {
            match frame {
                Ok(frame) => bytes += frame.data_ref().unwrap().len() as u64,
                Err(error) => return Err(*error.downcast().unwrap()),
            }
        }
        Ok(bytes)
    }

    /// A body whose length may be told.
    struct Told<B>(B, Option<u64>);

    impl<B: Body + Unpin> Body for Told<B> {
        type Data = B::Data;
        type Error = B::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }

        fn size_hint(&self) -> SizeHint {
            self.1.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    async fn check(pieces: usize, bytes: usize, apart: Duration, is_told: bool, expect: Result<u64, &str>) {
        let found = sent(pieces, bytes, apart, is_told, &Answering::new(false)).await;
        let found = found.map_err(|shed| shed.0.code.into_owned());
        assert_eq!(found, expect.map_err(str::to_owned), "{pieces} of {bytes}, {apart:?} apart");
    }

    #[tokio::test(start_paused = true)]
    async fn who_stalls_or_dawdles_is_shed_and_who_is_merely_slow_is_not() {
        check(10, 100, SECOND, true, Ok(1000)).await;
        check(100, 100, SECOND, true, Ok(10_000)).await;
        check(100, 99, SECOND, true, Err("body_bytes_per_second_min")).await;
        check(1000, 1, 10 * SECOND, true, Err("body_bytes_per_second_min")).await;
        check(100, 100, SECOND, false, Ok(10_000)).await;
        check(1000, 1, 10 * SECOND, false, Err("body_bytes_per_second_min")).await;
        check(1, 1, 59 * SECOND, false, Ok(1)).await;
        check(1, 1, 61 * SECOND, false, Err("body_idle")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_conversation_goes_as_fast_as_its_makers_have_something_to_say() {
        let begun = Answering::new(false);
        begun.begun();
        for conversation in [begun, Answering::new(true)] {
            assert_eq!(sent(1000, 1, 10 * SECOND, false, &conversation).await.unwrap(), 1000);
            let told = sent(1000, 1, 10 * SECOND, true, &conversation).await.unwrap_err();
            assert_eq!(told.0.code, "body_bytes_per_second_min", "who told the length has it ready");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_large_is_known_when_it_is_told_or_when_it_has_come() {
        check(10, 100_000, Duration::ZERO, true, Ok(1_000_000)).await;
        check(11, 100_000, Duration::ZERO, true, Err("body_bytes_max")).await;
        check(11, 100_000, Duration::ZERO, false, Err("body_bytes_max")).await;
    }
}
