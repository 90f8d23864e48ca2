//! A connection to one agent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use engine::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use wire::guest::frame::{Body, Frame, MESSAGE_BYTES_MAX};
use wire::guest::{AgentHello, Done, NodeHello, Request, Status};

use super::driver::drive;
use super::hello::{agree, greet};
use super::shared::Shared;
use super::{Cause, Event, GuestCall, GuestError};

/// A connection to one agent, over which many requests go at once.
///
/// Cheap to clone. It is closed when the last clone and the last call on it
/// are gone, or by [`Connection::close`].
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    alive: Arc<Alive>,
    generation: u32,
}

/// Ends the driver when nobody is left who could use the connection.
#[derive(Debug)]
pub(super) struct Alive(AbortHandle);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Greets the agent at the other end of `stream` and agrees on a generation, within `bound`.
    ///
    /// # Errors
    /// [`GuestError::Refused`], [`GuestError::Generation`], [`GuestError::Timeout`] or [`GuestError::Broken`].
    pub async fn open(
        stream: Stream,
        hello: NodeHello,
        bound: Duration,
    ) -> Result<(Self, AgentHello), GuestError> {
        let opened = async {
            match stream {
                Stream::Tcp(stream) => {
                    stream.set_nodelay(true).map_err(|source| GuestError::broken(Cause::Io(source)))?;
                    let (reader, writer) = stream.into_split();
                    Self::open_halves(reader, writer, hello).await
                }
                Stream::Unix(stream) => {
                    let (reader, writer) = stream.into_split();
                    Self::open_halves(reader, writer, hello).await
                }
            }
        };
        timeout(bound, opened).await.map_err(|_| GuestError::Timeout { what: "being greeted", bound })?
    }

    async fn open_halves<R, W>(
        mut reader: R,
        mut writer: W,
        hello: NodeHello,
    ) -> Result<(Self, AgentHello), GuestError>
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let mut input = BytesMut::new();
        let answer = greet(&mut reader, &mut writer, &mut input, &hello).await?;
        let generation = agree(hello.generation, answer.generation)?;
        let shared = Arc::new(Shared::new());
        let driver = tokio::spawn(drive(shared.clone(), reader, writer, input));
        let alive = Arc::new(Alive(driver.abort_handle()));
        Ok((Self { shared, alive, generation }, answer))
    }

    /// The generation of the protocol that is spoken here.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Asks something of the agent. Waits only while [`super::OUTBOX_BYTES_MAX`] bytes have not been written yet.
    ///
    /// # Errors
    /// When the request cannot be sent; the agent knows nothing of it then.
    pub async fn request(&self, request: &Request) -> Result<GuestCall, GuestError> {
        let json = to_json(request)?;
        let (number, lane) = self.shared.register()?;
        let mut opening = Opening { shared: &self.shared, number, queued: false };
        let open = Frame::new(number, Body::Open(json));
        self.shared.outbox.push(&open).await.map_err(|_| self.shared.gone())?;
        opening.queued = true;
        Ok(GuestCall::new(number, lane, self.shared.clone(), self.alive.clone(), request.takes_input()))
    }

    /// Asks something whose last word is all that matters; data on the way is thrown away.
    ///
    /// # Errors
    /// As [`Connection::request`] and [`super::GuestReceiver::next`], or [`GuestError::Failed`] with what the agent said.
    pub async fn ask(&self, request: &Request) -> Result<Done, GuestError> {
        let mut call = self.request(request).await?;
        loop {
            if let Event::End(outcome) = call.next().await? {
                return outcome.map_err(GuestError::Failed);
            }
        }
    }

    /// Asks how the inside is, which also tells whether anybody is there.
    ///
    /// # Errors
    /// [`GuestError::Timeout`] when `bound` passes without an answer, [`GuestError::Broken`].
    pub async fn ping(&self, bound: Duration) -> Result<Status, GuestError> {
        let what = "being asked for its status";
        let answer = timeout(bound, self.ask(&Request::Status)).await;
        match answer.map_err(|_| GuestError::Timeout { what, bound })?? {
            Done::Status(status) => Ok(status),
            _ => Err(GuestError::OddAnswer),
        }
    }

    /// How many frames the agent has sent: more than a while ago means that it lives.
    pub fn heard(&self) -> u64 {
        self.shared.heard.load(Ordering::Relaxed)
    }

    /// Waits until the connection is gone; [`Connection::broken`] then says why.
    pub async fn closed(&self) {
        self.shared.broken.wait().await;
    }

    /// Why the connection is gone, if it is.
    pub fn broken(&self) -> Option<GuestError> {
        self.shared.broken.get().map(|cause| GuestError::Broken(cause.clone()))
    }

    /// Says that nothing more will be asked, and waits until the agent has hung up: from then on there is nothing of the
    /// connection inside.
    pub async fn finish(&self) {
        let _ = self.shared.finishing.set(());
        self.closed().await;
    }

    /// Closes the connection now. Whatever is under way on it fails.
    pub fn close(&self) {
        self.shared.fail(Cause::Closed);
    }
}

/// A stream whose `Open` may not have been queued yet. Given up before that, it leaves nothing behind.
struct Opening<'a> {
    shared: &'a Shared,
    number: u32,
    queued: bool,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.queued {
            self.shared.forget(self.number);
        }
    }
}

fn to_json(request: &Request) -> Result<Bytes, GuestError> {
    let too_large = |bytes| GuestError::RequestTooLarge { bytes, max: MESSAGE_BYTES_MAX };
    // Our own types always have a JSON form; only size can be in the way.
    let json = serde_json::to_vec(request).map_err(|_| too_large(usize::MAX))?;
    if json.len() > MESSAGE_BYTES_MAX { Err(too_large(json.len())) } else { Ok(json.into()) }
}
