//! Lends the ingress connections to ports of sandboxes: see [`wire::ingress`].
//!
//! The descriptor is handed over, so the bytes never pass through this process, which is root. Where nobody listens for
//! those outside, it is one to somebody who listens inside alone ([`crate::loopback`]).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use wire::guest::AGENT_TCP_PORT;
use wire::ingress::{ANSWER_BYTES_MAX, Dial, DialAnswer, DialRefusal, DialRefusalCode};
use wire::node::Observed;
use wire::sandbox::State;

use crate::loopback;
use crate::sandbox::handle::Handle;
use crate::sandbox::talk::Talking;
use crate::supervisor::Supervisor;

/// Connections that are lent at once; more wait.
const LOANS_MAX: usize = 16 * 1024;
/// How long an order may take to arrive.
const ORDER_WAIT: Duration = Duration::from_secs(5);
/// How long a port is waited for at most, whatever the order says.
const PORT_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long to wait after the first look at which nobody listened; after each later one twice as long.
const REFUSED_WAIT_MIN: Duration = Duration::from_millis(2);
/// How long at most: what users start may never listen.
const REFUSED_WAIT_MAX: Duration = Duration::from_millis(100);
/// How long to wait when links cannot be accepted (no descriptors left, mostly).
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(100);

/// Lends for as long as this runs.
pub async fn lend(supervisor: Arc<Supervisor>, listener: UnixListener) {
    let loans = Arc::new(Semaphore::new(LOANS_MAX));
    // The semaphore is never closed.
    while let Ok(loan) = loans.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((link, _)) => {
                let supervisor = supervisor.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(&supervisor, link).await {
                        tracing::debug!(%error, "a link of the ingress broke");
                    }
                    drop(loan);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the ingress cannot be heard");
                tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
            }
        }
    }
}

/// A connection that is lent: the sandbox is awake as long as this is held.
struct Loan {
    stream: engine::Stream,
    handle: Handle,
    _talking: Talking,
}

async fn serve(supervisor: &Supervisor, mut link: UnixStream) -> io::Result<()> {
    let order = tokio::time::timeout(ORDER_WAIT, order(&mut link)).await??;
    match lend_one(supervisor, &order).await {
        Ok(loan) => {
            answer(&link, &DialAnswer::Connected, Some(loan.stream.as_fd())).await?;
            let Loan { stream, handle, _talking } = loan;
            // The ingress has its own descriptor of it now.
            drop(stream);
            tokio::select! {
                _ = handle.wait(|observed| !runs(observed)) => {}
                // It says nothing more, until it is done.
                _ = link.read_u8() => {}
            }
            Ok(())
        }
        Err(refusal) => answer(&link, &DialAnswer::Refused(refusal), None).await,
    }
}

async fn order(link: &mut UnixStream) -> io::Result<Dial> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") && line.len() < ANSWER_BYTES_MAX {
        if link.read_buf(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(serde_json::from_slice(&line)?)
}

async fn lend_one(supervisor: &Supervisor, order: &Dial) -> Result<Loan, DialRefusal> {
    let Dial { sandbox, port, wait_ms } = order;
    if *port == AGENT_TCP_PORT {
        return Err(refusal(DialRefusalCode::Forbidden, "the port is the agent's"));
    }
    let gone = || refusal(DialRefusalCode::Gone, format!("sandbox {sandbox} does not run here"));
    let handle = supervisor.find(sandbox).await.filter(|handle| runs(&handle.observed())).ok_or_else(gone)?;
    let talking = handle.talk.begin(|| supervisor.node.engine.wake(sandbox));
    let wait = PORT_WAIT_MAX.min(Duration::from_millis(*wait_ms));
    let dialled = tokio::select! {
        biased;
        _ = handle.wait(|observed| !runs(observed)) => return Err(gone()),
        dialled = dial(&supervisor.node.engine, &handle, *port, wait) => dialled,
    };
    let stream = dialled.map_err(|error| undialled(&error))?;
    Ok(Loan { stream, handle, _talking: talking })
}

/// A connection to whoever listens on the port, or begins to within `wait`.
async fn dial(
    engine: &Engine,
    handle: &Handle,
    port: u16,
    wait: Duration,
) -> Result<engine::Stream, engine::Error> {
    let deadline = Instant::now() + wait;
    let mut refused_wait = REFUSED_WAIT_MIN;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let refusal = match engine.dial_port(&handle.record.id, port, left).await {
            Err(error) if is_refusal(&error) => error,
            dialled => return dialled,
        };
        if let Some(stream) = loopback::dial(engine, &handle.record.id, handle.token(), port).await {
            return Ok(stream);
        }
        if Instant::now() + refused_wait > deadline {
            return Err(refusal);
        }
        tokio::time::sleep(refused_wait).await;
        refused_wait = REFUSED_WAIT_MAX.min(refused_wait * 2);
    }
}

fn runs(observed: &Observed) -> bool {
    observed.state == State::Running
}

fn undialled(error: &engine::Error) -> DialRefusal {
    let nobody = is_refusal(error) || matches!(error, engine::Error::Timeout { .. });
    let code = if nobody { DialRefusalCode::NotListening } else { DialRefusalCode::Unreachable };
    refusal(code, wire::causes::chain(error))
}

fn is_refusal(error: &engine::Error) -> bool {
    matches!(error, engine::Error::Io { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
}

fn refusal(code: DialRefusalCode, message: impl Into<String>) -> DialRefusal {
    DialRefusal { code, message: message.into() }
}

/// A line, and with its first byte the descriptor.
async fn answer(
    link: &UnixStream,
    answer: &DialAnswer,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.truncate(ANSWER_BYTES_MAX - 1);
    line.push(b'\n');
    // A fresh socket has room for all of it.
    link.async_io(Interest::WRITABLE, || send(link, &line, descriptor)).await.map(drop)
}

fn send(link: &UnixStream, line: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    Ok(sendmsg(link, &[IoSlice::new(line)], &mut ancillary, SendFlags::NOSIGNAL)?)
}
