//! One request to the agent in a sandbox, through its node.
//!
//! Dropping the answer closes the connection, which the node takes as a cancel:
//! nothing that was asked for goes on when nobody waits for it.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use wire::guest::frame::{Body, Channel, DATA_BYTES_MAX, Frame};
use wire::guest::{Head, Outcome, Request};
use wire::node::GUEST_STREAM;

use super::NodeFailure;
use crate::finite::{Feeder, GivenUp};

/// The frame that opens a request.
pub(super) fn open(request: &Request) -> Result<Bytes, NodeFailure> {
    let json = serde_json::to_vec(request).map_err(NodeFailure::malformed)?;
    Ok(encode(Body::Open(json.into())))
}

fn encode(body: Body) -> Bytes {
    let mut out = BytesMut::new();
    Frame::new(GUEST_STREAM, body).encode(&mut out);
    out.freeze()
}

/// Something the agent said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestEvent {
    /// What comes before the data.
    Head(Head),
    /// Data.
    Data(Channel, Bytes),
    /// The last word.
    End(Outcome),
}

/// The answer to a request, as it comes.
pub struct GuestAnswer {
    body: Incoming,
    buffer: BytesMut,
}

impl GuestAnswer {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new() }
    }

    /// The next event.
    ///
    /// # Errors
    /// The stream ended without [`GuestEvent::End`], or is not what it should be.
    pub async fn next(&mut self) -> Result<GuestEvent, NodeFailure> {
        loop {
            while let Some(frame) = Frame::decode(&mut self.buffer).map_err(NodeFailure::malformed)? {
                if let Some(event) = event(frame)? {
                    return Ok(event);
                }
            }
            let frame = self.body.frame().await;
            let frame =
                frame.ok_or_else(|| NodeFailure::malformed("the answer ended without its last frame"))?;
            if let Ok(data) = frame.map_err(NodeFailure::unreachable)?.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// The last word, and nothing of what comes before it.
    ///
    /// # Errors
    /// As [`GuestAnswer::next`].
    pub async fn last_word(mut self) -> Result<Outcome, NodeFailure> {
        loop {
            if let GuestEvent::End(outcome) = self.next().await? {
                return Ok(outcome);
            }
        }
    }
}

/// What a frame means to a caller; `None` for those that mean nothing here.
fn event(frame: Frame) -> Result<Option<GuestEvent>, NodeFailure> {
    if frame.stream != GUEST_STREAM {
        return Err(NodeFailure::malformed(format!("a frame is of stream {}", frame.stream)));
    }
    match frame.body {
        Body::Head(json) => parse(&json).map(GuestEvent::Head).map(Some),
        Body::End(json) => parse(&json).map(GuestEvent::End).map(Some),
        Body::Data(channel, bytes) => Ok(Some(GuestEvent::Data(channel, bytes))),
        Body::Eof(_) | Body::Credit(_) => Ok(None),
        Body::Hello(_) | Body::Open(_) | Body::Cancel => {
            Err(NodeFailure::malformed("an answer has a request's frame"))
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &Bytes) -> Result<T, NodeFailure> {
    serde_json::from_slice(json).map_err(NodeFailure::malformed)
}

/// Data on its way to the agent. Dropped without [`Upload::finish`], the request is cut short.
pub struct Upload(pub(crate) Feeder);

impl Upload {
    /// Sends these bytes, as fast as the agent takes them.
    ///
    /// # Errors
    /// The node does not read any more; its answer says why.
    pub async fn send(&self, mut data: Bytes) -> Result<(), GivenUp> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(DATA_BYTES_MAX));
            self.0.send(encode(Body::Data(Channel::Stdin, piece))).await?;
        }
        Ok(())
    }

    /// Says that this was all.
    ///
    /// # Errors
    /// As [`Upload::send`].
    pub async fn finish(self) -> Result<(), GivenUp> {
        self.0.send(encode(Body::Eof(Channel::Stdin))).await?;
        self.0.finish().await
    }
}
