//! Lends the ingress connections to ports of sandboxes: see [`wire::ingress`].
//!
//! The descriptor is handed over, so the bytes never pass through this process, which is root. Where nobody listens for
//! those outside, it is one to somebody who listens inside alone ([`crate::loopback`]).

mod link;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wire::guest::AGENT_TCP_PORT;
use wire::ingress::{ANSWER_BYTES_MAX, Dial, DialRefusal, DialRefusalCode};
use wire::node::Observed;
use wire::sandbox::State;

pub use link::listen;

use crate::loopback;
use crate::sandbox::handle::Handle;
use crate::sandbox::talk::Talking;
use crate::supervisor::Supervisor;

/// Connections that are lent or asked for at once; more are refused.
const LOANS_MAX: usize = 16 * 1024;
/// Links at once: an ingress needs one, and those of one that was killed end with it. More wait.
const LINKS_MAX: usize = 16;
/// How long a port is waited for at most, whatever the order says.
const PORT_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long to wait after the first look at which nobody listened; after each later one twice as long.
const REFUSED_WAIT_MIN: Duration = Duration::from_millis(2);
/// How long at most: what users start may never listen.
const REFUSED_WAIT_MAX: Duration = Duration::from_millis(100);
/// How long to wait when links cannot be accepted (no descriptors left, mostly).
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(100);
/// What is said of why there is no connection, at most.
const REFUSAL_CHARS_MAX: usize = 500;
/// A character takes six bytes of JSON at most.
const _: () = assert!(REFUSAL_CHARS_MAX * 6 + 256 <= ANSWER_BYTES_MAX);

/// Lends for as long as this runs.
pub async fn lend(supervisor: Arc<Supervisor>, listener: UnixListener) {
    let lender = Arc::new(Lender { supervisor, places: Arc::new(Semaphore::new(LOANS_MAX)) });
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = links.join_next() => {
                if let Ok(Err(error)) = ended {
                    tracing::warn!(%error, "a link of the ingress broke");
                }
            }
            accepted = listener.accept(), if links.len() < LINKS_MAX => match accepted {
                Ok((link, _)) => drop(links.spawn(link::serve(lender.clone(), link))),
                Err(error) => {
                    tracing::warn!(%error, "the ingress cannot be heard");
                    tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
                }
            }
        }
    }
}

/// What lends.
struct Lender {
    supervisor: Arc<Supervisor>,
    /// For all that is lent or asked for.
    places: Arc<Semaphore>,
}

/// A connection that is lent: the sandbox is awake as long as this is held.
struct Loan {
    stream: engine::Stream,
    handle: Handle,
    talking: Talking,
}

impl Lender {
    async fn dial(&self, order: &Dial) -> Result<Loan, DialRefusal> {
        let Dial { sandbox, port, wait_ms, .. } = order;
        if *port == AGENT_TCP_PORT {
            return Err(refusal(DialRefusalCode::Forbidden, "the port is the agent's"));
        }
        let gone = || refusal(DialRefusalCode::Gone, format!("sandbox {sandbox} does not run here"));
        let supervisor = &self.supervisor;
        let handle =
            supervisor.find(sandbox).await.filter(|handle| runs(&handle.observed())).ok_or_else(gone)?;
        let talking = handle.talk.begin(|| supervisor.node.engine.wake(sandbox));
        let wait = PORT_WAIT_MAX.min(Duration::from_millis(*wait_ms));
        let dialled = tokio::select! {
            biased;
            _ = handle.wait(|observed| !runs(observed)) => return Err(gone()),
            dialled = dial(&supervisor.node.engine, &handle, *port, wait) => dialled,
        };
        let stream = dialled.map_err(|error| undialled(&error))?;
        Ok(Loan { stream, handle, talking })
    }
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
    let message = message.into().chars().take(REFUSAL_CHARS_MAX).collect();
    DialRefusal { code, message }
}
