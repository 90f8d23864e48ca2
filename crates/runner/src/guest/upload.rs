//! The request body of a relayed call: chunks of bytes, cut anyhow, that are frames.

use std::convert::Infallible;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use wire::guest::Request;
use wire::guest::frame::{Body, Channel, Frame};
use wire::node::GUEST_STREAM;

use super::GuestSender;
use super::sent::{NextStream, Sent};

/// See the module.
pub(super) struct Upload<S> {
    body: Pin<Box<S>>,
    input: BytesMut,
}

/// Why frames stop coming.
#[derive(Debug)]
pub(super) enum Fault {
    /// The body broke off; whoever sent it is gone.
    BrokeOff,
    /// What came makes no sense, for this reason.
    Malformed(String),
}

impl<S, E> Upload<S>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    pub(super) fn new(body: S) -> Self {
        Self { body: Box::pin(body), input: BytesMut::new() }
    }

    /// The first frame, which must be `Open`.
    pub(super) async fn request(&mut self) -> Result<Request, Fault> {
        match self.next().await? {
            Some(Body::Open(json)) => serde_json::from_slice(&json)
                .map_err(|error| Fault::Malformed(format!("the request cannot be understood: {error}"))),
            _ => Err(Fault::Malformed("the body must start with an Open frame".into())),
        }
    }

    /// Carries the rest to the agent, and on to the streams that the call is gone on with in, for as long as it is driven.
    ///
    /// Whatever keeps the input from being complete cancels the call.
    pub(super) async fn carry(
        mut self,
        mut sender: GuestSender,
        mut next_streams: mpsc::Receiver<NextStream>,
    ) -> Result<Infallible, Fault> {
        let mut sent = Sent::default();
        let (mut is_over, mut is_cancelled) = (false, false);
        loop {
            if is_cancelled {
                sender.cancel();
            } else if is_over {
                // Input that stops before its Eof cancels; a call that takes none goes on.
                sender.close();
            }
            let frame = tokio::select! {
                biased;
                Some(next) = next_streams.recv() => {
                    sender = next.sender;
                    sent.again(&mut sender, next.received).await?;
                    continue;
                }
                frame = self.next(), if !is_over => frame,
                else => return std::future::pending().await,
            };
            match frame {
                Ok(Some(Body::Data(Channel::Stdin, bytes))) => sent.send(&mut sender, bytes).await?,
                Ok(Some(Body::Eof(Channel::Stdin))) => sent.eof(&mut sender),
                Ok(Some(Body::Cancel)) | Err(Fault::BrokeOff) => (is_over, is_cancelled) = (true, true),
                Ok(Some(_)) => {
                    return Err(Fault::Malformed("only Data, Eof and Cancel may follow Open".into()));
                }
                Ok(None) => is_over = true,
                Err(malformed) => return Err(malformed),
            }
        }
    }

    /// What the next frame says; none at the end of the body.
    async fn next(&mut self) -> Result<Option<Body>, Fault> {
        loop {
            let frame =
                Frame::decode(&mut self.input).map_err(|error| Fault::Malformed(error.to_string()))?;
            match frame {
                Some(Frame { stream: GUEST_STREAM, body }) => return Ok(Some(body)),
                Some(Frame { stream, .. }) => {
                    return Err(Fault::Malformed(format!(
                        "a frame is of stream {stream}, not {GUEST_STREAM}"
                    )));
                }
                None => {}
            }
            match self.body.next().await {
                Some(Ok(chunk)) => self.input.extend_from_slice(&chunk),
                Some(Err(_)) => return Err(Fault::BrokeOff),
                None if self.input.is_empty() => return Ok(None),
                None => return Err(Fault::Malformed("the body ends inside a frame".into())),
            }
        }
    }
}
