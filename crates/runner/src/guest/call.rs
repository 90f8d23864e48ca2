//! One request under way: a sender and a receiver.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use wire::guest::frame::{Body, Channel, DATA_BYTES_MAX, Frame};
use wire::guest::{Head, Outcome};

use super::GuestError;
use super::connection::Alive;
use super::lane::Lane;
use super::shared::Shared;

/// What an agent says on a stream, in this order but for Data and Eof of the two channels, which mix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What comes before data; not every request has one.
    Head(Head),
    /// Bytes; at most [`DATA_BYTES_MAX`], never none.
    Data(Channel, Bytes),
    /// No more bytes will come on this channel. Agents may leave it out before an End.
    Eof(Channel),
    /// The last word.
    End(Outcome),
}

/// A request under way. Dropping it cancels it.
#[derive(Debug)]
pub struct GuestCall {
    sender: GuestSender,
    receiver: GuestReceiver,
}

/// The half of a call that sends its input.
///
/// Dropped before [`GuestSender::eof`], it cancels the call if that takes
/// input: input that breaks off must never pass for input that ended.
#[derive(Debug)]
pub struct GuestSender {
    stream: StreamRef,
    input: Input,
    cancelled: bool,
}

/// The half of a call that receives what the agent says. Dropped before the End, it cancels the call.
#[derive(Debug)]
pub struct GuestReceiver {
    stream: StreamRef,
}

/// What may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    None,
    Open,
    Finished,
}

#[derive(Debug, Clone)]
struct StreamRef {
    number: u32,
    lane: Arc<Lane>,
    shared: Arc<Shared>,
    /// Keeps the driver running.
    _alive: Arc<Alive>,
}

impl StreamRef {
    fn push_now(&self, body: Body) {
        self.shared.outbox.push_now(&Frame::new(self.number, body));
    }
}

impl GuestCall {
    pub(super) fn new(
        number: u32,
        lane: Arc<Lane>,
        shared: Arc<Shared>,
        alive: Arc<Alive>,
        takes_input: bool,
    ) -> Self {
        let stream = StreamRef { number, lane, shared, _alive: alive };
        let input = if takes_input { Input::Open } else { Input::None };
        let sender = GuestSender { stream: stream.clone(), input, cancelled: false };
        Self { sender, receiver: GuestReceiver { stream } }
    }

    /// The two halves, to be used at the same time.
    pub fn split(self) -> (GuestSender, GuestReceiver) {
        (self.sender, self.receiver)
    }

    /// As [`GuestReceiver::next`].
    ///
    /// # Errors
    /// As there.
    pub async fn next(&mut self) -> Result<Event, GuestError> {
        self.receiver.next().await
    }

    /// As [`GuestSender::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), GuestError> {
        self.sender.send(bytes).await
    }

    /// As [`GuestSender::eof`].
    pub fn eof(&mut self) {
        self.sender.eof();
    }

    /// As [`GuestSender::cancel`].
    pub fn cancel(&mut self) {
        self.sender.cancel();
    }
}

impl GuestSender {
    /// Sends bytes on [`Channel::Stdin`], in frames, as fast as the agent grants credit.
    ///
    /// A future of this that is dropped may have sent a part.
    ///
    /// # Errors
    /// [`GuestError::Over`] when the request ended without waiting for this input,
    /// [`GuestError::TakesNoInput`], [`GuestError::Broken`].
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<(), GuestError> {
        if self.input != Input::Open {
            return Err(GuestError::TakesNoInput);
        }
        let StreamRef { number, lane, shared, .. } = &self.stream;
        while !bytes.is_empty() {
            let wanted = bytes.len().min(DATA_BYTES_MAX);
            let granted = poll_fn(|cx| lane.poll_credit(cx, wanted)).await?;
            let data = Frame::new(*number, Body::Data(Channel::Stdin, bytes.split_to(granted)));
            shared.outbox.push(&data).await.map_err(|_| shared.gone())?;
        }
        Ok(())
    }

    /// Says that the input is complete. Nothing if the request takes none.
    pub fn eof(&mut self) {
        if self.input == Input::Open {
            self.input = Input::Finished;
            self.stream.push_now(Body::Eof(Channel::Stdin));
        }
    }

    /// Asks the agent to stop working on this. Its End still follows.
    pub fn cancel(&mut self) {
        if self.input == Input::Open {
            self.input = Input::Finished;
        }
        if !std::mem::replace(&mut self.cancelled, true) && self.stream.lane.is_live() {
            self.stream.push_now(Body::Cancel);
        }
    }
}

impl GuestSender {
    /// Whether anything may be sent, still.
    pub fn takes_input(&self) -> bool {
        self.input == Input::Open
    }

    /// Says that nothing more will be sent. Input without its end cancels the call.
    pub fn close(&mut self) {
        if self.input == Input::Open {
            self.cancel();
        }
    }
}

impl Drop for GuestSender {
    fn drop(&mut self) {
        self.close();
    }
}

impl GuestReceiver {
    /// What the agent says next.
    ///
    /// # Errors
    /// [`GuestError::Broken`] when the connection broke before the End: the
    /// request failed, whatever was said before. [`GuestError::Over`] after the End.
    pub async fn next(&mut self) -> Result<Event, GuestError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`GuestReceiver::next`].
    ///
    /// # Errors
    /// As there.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, GuestError>> {
        let (event, grant) = ready!(self.stream.lane.poll_event(cx))?;
        if let Some(bytes) = grant {
            self.stream.push_now(Body::Credit(bytes));
        }
        Poll::Ready(Ok(event))
    }
}

impl Drop for GuestReceiver {
    fn drop(&mut self) {
        if self.stream.lane.abandon() {
            self.stream.push_now(Body::Cancel);
        }
    }
}
