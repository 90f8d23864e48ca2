//! A call relayed for somebody else: frames come as a request body and leave
//! as the body of the answer, both at once ([`wire::node::GUEST_CONTENT_TYPE`]).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, Stream};
use serde::Serialize;
use tokio::sync::mpsc;
use wire::guest::frame::{Body, Frame};
use wire::guest::part::{Parted, Rejoin};
use wire::guest::{Done, Error, ErrorCode, Outcome, Request};
use wire::node::GUEST_STREAM;

use super::sent::NextStream;
use super::upload::{Fault, Upload};
use super::{Cause, Connection, Event, GuestCall, GuestError, GuestReceiver};

/// A piece of the answer is complete at this size, in bytes, or when there is no more to say for now.
const PIECE_BYTES: usize = 64 * 1024;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Carrying = Boxed<Result<Infallible, Fault>>;
type WayBack = Box<dyn Fn() -> Boxed<Option<Connection>> + Send>;

/// Relays one call: `body` is frames from `Open` on, cut into chunks anyhow; the stream is the
/// answer's frames up to `End`.
///
/// The two go on together, driven by whoever reads the stream: a reader that
/// stops holds up both, and one that drops the stream cancels the call, as
/// does a body that breaks off or ends before the input's Eof. A body that
/// makes no sense is answered with an `End` of [`ErrorCode::Invalid`]. When
/// the connection to the agent breaks, the stream ends with an error and
/// without an `End`.
///
/// A call that is parted from goes on over another connection, when `way_back`
/// finds one, without a sign of it in the answer; else it has broken.
pub fn relay<S, E, F>(body: S, connection: Connection, way_back: impl Fn() -> F + Send + 'static) -> Relay
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Send + 'static,
    F: Future<Output = Option<Connection>> + Send + 'static,
{
    let way_back = Box::new(move || way_back().boxed());
    Relay(Phase::Opening(open(Upload::new(body), connection, way_back).boxed()))
}

/// See [`relay`].
pub struct Relay(Phase);

enum Phase {
    Opening(Boxed<Result<Open, Refusal>>),
    Open(Open),
    Over,
}

struct Open {
    receiver: GuestReceiver,
    carrying: Carrying,
    /// Where the input goes on.
    next_streams: mpsc::Sender<NextStream>,
    way_back: WayBack,
    /// While it is parted from.
    returning: Option<Boxed<Result<(GuestCall, u64), GuestError>>>,
}

/// Why a call was not made.
enum Refusal {
    /// Its maker asked for something that cannot be.
    Mistaken(Error),
    /// The agent cannot be asked.
    Unreachable(GuestError),
}

async fn open<S, E>(mut upload: Upload<S>, connection: Connection, way_back: WayBack) -> Result<Open, Refusal>
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Send + 'static,
{
    let request = upload.request().await.map_err(|fault| Refusal::Mistaken(mistake(fault)))?;
    let call = connection.request(&request).await.map_err(|error| match error {
        GuestError::RequestTooLarge { .. } | GuestError::TooManyStreams => {
            Refusal::Mistaken(Error::new(ErrorCode::TooLarge, error.to_string()))
        }
        other => Refusal::Unreachable(other),
    })?;
    let (sender, receiver) = call.split();
    let (next_streams, next) = mpsc::channel(1);
    Ok(Open {
        receiver,
        carrying: upload.carry(sender, next).boxed(),
        next_streams,
        way_back,
        returning: None,
    })
}

/// Goes on with a call that was parted from. Returns how much of its input was received before.
async fn come_back(
    connection: Boxed<Option<Connection>>,
    parted: Parted,
) -> Result<(GuestCall, u64), GuestError> {
    let connection = connection.await.ok_or_else(|| GuestError::broken(Cause::HungUp))?;
    let Parted { ticket, received, input } = parted;
    let call = connection.request(&Request::Rejoin(Rejoin { ticket, input })).await?;
    Ok((call, received))
}

fn mistake(fault: Fault) -> Error {
    match fault {
        Fault::Malformed(reason) => Error::new(ErrorCode::Invalid, reason),
        Fault::BrokeOff => {
            Error::new(ErrorCode::Invalid, "the body broke off before the request was complete")
        }
    }
}

impl Stream for Relay {
    type Item = Result<Bytes, GuestError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut self.0 {
                Phase::Over => return Poll::Ready(None),
                Phase::Open(open) => {
                    let (piece, last) = ready!(open.poll_piece(cx));
                    if last {
                        self.0 = Phase::Over;
                    }
                    return Poll::Ready(Some(piece));
                }
                Phase::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(open) => self.0 = Phase::Open(open),
                    Err(refusal) => {
                        self.0 = Phase::Over;
                        return Poll::Ready(Some(refusal.into_piece()));
                    }
                },
            }
        }
    }
}

impl Refusal {
    fn into_piece(self) -> Result<Bytes, GuestError> {
        match self {
            Self::Mistaken(error) => Ok(end(error)),
            Self::Unreachable(error) => Err(error),
        }
    }
}

impl Open {
    /// The next piece of the answer, and whether it is the last.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<(Result<Bytes, GuestError>, bool)> {
        if let Poll::Ready(Err(fault)) = self.carrying.as_mut().poll(cx) {
            return Poll::Ready((Ok(end(mistake(fault))), true));
        }
        let mut piece = BytesMut::new();
        while piece.len() < PIECE_BYTES {
            match self.poll_event(cx) {
                Poll::Ready(Ok(event)) => {
                    let last = matches!(event, Event::End(_));
                    encode(event, &mut piece);
                    if last {
                        return Poll::Ready((Ok(piece.freeze()), true));
                    }
                }
                Poll::Ready(Err(error)) if piece.is_empty() => return Poll::Ready((Err(error), true)),
                Poll::Pending if piece.is_empty() => return Poll::Pending,
                // An error stays: it is met again after this piece.
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        Poll::Ready((Ok(piece.freeze()), false))
    }

    /// What the agent says next, over whichever connection.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, GuestError>> {
        loop {
            if let Some(returning) = &mut self.returning {
                let returned = ready!(returning.as_mut().poll(cx));
                // An error is met again.
                let stuck =
                    returned.as_ref().err().map(|error| std::future::ready(Err(error.clone())).boxed());
                self.returning = stuck;
                let (call, received) = returned?;
                self.go_on(call, received);
            }
            match ready!(self.receiver.poll_next(cx))? {
                Event::End(Ok(Done::Parted(parted))) => {
                    self.returning = Some(come_back((self.way_back)(), parted).boxed());
                }
                event => return Poll::Ready(Ok(event)),
            }
        }
    }

    fn go_on(&mut self, call: GuestCall, received: u64) {
        let (sender, receiver) = call.split();
        self.receiver = receiver;
        // There is room: whoever carries the input takes each before it can be parted from again.
        let _ = self.next_streams.try_send(NextStream { sender, received });
    }
}

fn encode(event: Event, out: &mut BytesMut) {
    let body = match event {
        Event::Head(head) => Body::Head(json(&head)),
        Event::Data(channel, bytes) => Body::Data(channel, bytes),
        Event::End(outcome) => Body::End(json(&outcome)),
        // The answer's End says the same.
        Event::Eof(_) => return,
    };
    Frame::new(GUEST_STREAM, body).encode(out);
}

fn end(error: Error) -> Bytes {
    let mut out = BytesMut::new();
    let outcome: Outcome = Err(error);
    Frame::new(GUEST_STREAM, Body::End(json(&outcome))).encode(&mut out);
    out.freeze()
}

fn json<T: Serialize>(value: &T) -> Bytes {
    // The words of `wire` are plain data, which always has a JSON form.
    serde_json::to_vec(value).unwrap_or_default().into()
}
