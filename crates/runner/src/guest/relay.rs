//! A call relayed for somebody else: frames come as a request body and leave
//! as the body of the answer, both at once ([`wire::node::GUEST_CONTENT_TYPE`]).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, Stream};
use serde::Serialize;
use wire::guest::frame::{Body, Frame};
use wire::guest::{Error, ErrorCode, Outcome};
use wire::node::GUEST_STREAM;

use super::upload::{Fault, Upload};
use super::{Connection, Event, GuestError, GuestReceiver};

/// A piece of the answer is complete at this size, in bytes, or when there is no more to say for now.
const PIECE_BYTES: usize = 64 * 1024;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Carrying = Boxed<Result<(), Fault>>;

/// Relays one call: `body` is frames from `Open` on, cut into chunks anyhow; the stream is the
/// answer's frames up to `End`.
///
/// The two go on together, driven by whoever reads the stream: a reader that
/// stops holds up both, and one that drops the stream cancels the call, as
/// does a body that breaks off or ends before the input's Eof. A body that
/// makes no sense is answered with an `End` of [`ErrorCode::Invalid`]. When
/// the connection to the agent breaks, the stream ends with an error and
/// without an `End`.
pub fn relay<S, E>(body: S, connection: Connection) -> Relay
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Send + 'static,
{
    Relay(Phase::Opening(open(Upload::new(body), connection).boxed()))
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
    /// None when the body has been read to its end.
    carrying: Option<Carrying>,
}

/// Why a call was not made.
enum Refusal {
    /// Its maker asked for something that cannot be.
    Mistaken(Error),
    /// The agent cannot be asked.
    Unreachable(GuestError),
}

async fn open<S, E>(mut upload: Upload<S>, connection: Connection) -> Result<Open, Refusal>
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
    Ok(Open { receiver, carrying: Some(upload.carry(sender).boxed()) })
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
        if let Some(fault) = self.poll_carrying(cx) {
            return Poll::Ready((Ok(end(mistake(fault))), true));
        }
        let mut piece = BytesMut::new();
        while piece.len() < PIECE_BYTES {
            match self.receiver.poll_next(cx) {
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

    /// Moves the input on as far as it goes now.
    fn poll_carrying(&mut self, cx: &mut Context<'_>) -> Option<Fault> {
        match self.carrying.as_mut()?.as_mut().poll(cx) {
            Poll::Pending => None,
            Poll::Ready(result) => {
                self.carrying = None;
                result.err()
            }
        }
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
