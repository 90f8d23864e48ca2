//! The request body of a relayed call: chunks of bytes, cut anyhow, that are frames.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use wire::guest::Request;
use wire::guest::frame::{Body, Channel, Frame};
use wire::node::GUEST_STREAM;

use super::{GuestError, GuestSender};

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

    /// Carries the rest to the agent, until the body ends.
    ///
    /// Whatever keeps the input from being complete cancels the call.
    pub(super) async fn carry(mut self, mut sender: GuestSender) -> Result<(), Fault> {
        loop {
            match self.next().await {
                Ok(Some(Body::Data(Channel::Stdin, bytes))) => match sender.send(bytes).await {
                    // A process that ended early does not want the rest: it is read and dropped.
                    Ok(()) | Err(GuestError::Over) => {}
                    Err(GuestError::TakesNoInput) => {
                        return Err(Fault::Malformed("data was sent where none is taken".into()));
                    }
                    // The receiver sees the same, and says so.
                    Err(_) => return Ok(()),
                },
                Ok(Some(Body::Eof(Channel::Stdin))) => sender.eof(),
                Ok(Some(Body::Cancel)) | Err(Fault::BrokeOff) => {
                    sender.cancel();
                    return Ok(());
                }
                Ok(Some(_)) => {
                    return Err(Fault::Malformed("only Data, Eof and Cancel may follow Open".into()));
                }
                Ok(None) => return Ok(()),
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
