//! How much and how long, by name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use wire::id::SandboxId;

use super::refusal::Refusal;

/// Bounds of the ingress.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of clients at once; more wait to be accepted.
    pub connections_max: usize,
    /// Requests under way to one sandbox; more are refused.
    pub sandbox_requests_max: usize,
    /// Headers of a request.
    pub headers_max: usize,
    /// The head of a request, in bytes.
    pub head_bytes_max: usize,
    /// Requests under way on one connection of HTTP/2.
    pub streams_max: u32,
    /// How long a client may take over TLS.
    pub handshake_wait: Duration,
    /// How long a client may take over a request's head, and may leave a connection without one.
    pub head_wait: Duration,
    /// How long a client may be silent in the middle of a body.
    pub body_idle: Duration,
    /// How long a client may leave what was sent to it untaken.
    pub untaken_wait: Duration,
    /// How long a port that nobody listens on is waited for.
    pub port_wait: Duration,
    /// How long an app may take to begin its answer.
    pub answer_wait: Duration,
    /// How long a connection to an app is kept while nobody needs it: shorter than apps keep theirs.
    pub upstream_idle: Duration,
    /// How long requests under way may take to end when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            sandbox_requests_max: 512,
            headers_max: 100,
            head_bytes_max: 64 * 1024,
            streams_max: 256,
            handshake_wait: Duration::from_secs(10),
            head_wait: Duration::from_secs(30),
            body_idle: Duration::from_secs(60),
            untaken_wait: Duration::from_secs(60),
            port_wait: Duration::from_secs(15),
            answer_wait: Duration::from_secs(30 * 60),
            upstream_idle: Duration::from_secs(1),
            drain: Duration::from_secs(5),
        }
    }
}

/// The requests under way to each sandbox: one that is flooded takes no room of others.
#[derive(Debug, Clone, Default)]
pub struct Crowds(Arc<Mutex<HashMap<SandboxId, usize>>>);

/// A request under way, until this is dropped.
#[derive(Debug)]
pub struct Guest {
    crowds: Crowds,
    sandbox: SandboxId,
}

impl Crowds {
    /// One more, if there are fewer than `most`.
    ///
    /// # Errors
    /// When there are not.
    pub fn enter(&self, sandbox: &SandboxId, most: usize) -> Result<Guest, Refusal> {
        let mut counts = self.lock();
        let count = counts.entry(sandbox.clone()).or_default();
        if *count >= most {
            let message = format!(
                "sandbox {sandbox} has {most} requests under way, which is the limit; try again later"
            );
            return Err(Refusal::passing(StatusCode::SERVICE_UNAVAILABLE, "too_many_requests", message));
        }
        *count += 1;
        Ok(Guest { crowds: self.clone(), sandbox: sandbox.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SandboxId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.crowds.lock();
        if let Some(count) = counts.get_mut(&self.sandbox) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.sandbox);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_flooded_takes_no_room_of_others() {
        let (crowds, one, other) =
            (Crowds::default(), SandboxId::from_entropy([1; 20]), SandboxId::from_entropy([2; 20]));
        let guests: Vec<_> = (0..3).map(|_| crowds.enter(&one, 3).unwrap()).collect();
        let refusal = crowds.enter(&one, 3).unwrap_err();
        assert_eq!((refusal.status, refusal.retry_after_seconds), (StatusCode::SERVICE_UNAVAILABLE, Some(5)));
        drop(crowds.enter(&other, 3).unwrap());
        drop(guests);
        drop(crowds.enter(&one, 3).unwrap());
        assert!(crowds.lock().is_empty(), "nobody is remembered who is not there");
    }
}
