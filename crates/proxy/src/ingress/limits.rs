//! How much and how long, by name: a refusal's code is the name of the limit that was met.

use std::time::Duration;

/// Bounds of the ingress.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of clients at once; more wait to be accepted.
    pub connections_max: usize,
    /// Connections of one client's address at once; of more, a few are told so, and the rest is not answered. A network
    /// of IPv6 that is somebody's own counts as one address.
    pub address_connections_max: usize,
    /// Requests under way to one sandbox; more are refused.
    pub sandbox_requests_max: usize,
    /// Requests under way with one key, to whichever sandboxes; more are refused.
    pub key_requests_max: usize,
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
    /// What a client has to send of a body, in bytes a second, when it has been waited for longer than [`Limits::body_idle`]
    /// in all. One that is no longer than it has to be, since its length is not told, may go slower once the app answers.
    pub body_bytes_per_second_min: u64,
    /// The body of a request, in bytes; `None`: as large as its client and the app want it.
    pub body_bytes_max: Option<u64>,
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
            address_connections_max: 1024,
            sandbox_requests_max: 512,
            key_requests_max: 2048,
            headers_max: 100,
            head_bytes_max: 64 * 1024,
            streams_max: 256,
            handshake_wait: Duration::from_secs(10),
            head_wait: Duration::from_secs(30),
            body_idle: Duration::from_secs(60),
            body_bytes_per_second_min: 100,
            body_bytes_max: None,
            untaken_wait: Duration::from_secs(60),
            port_wait: Duration::from_secs(15),
            answer_wait: Duration::from_secs(30 * 60),
            upstream_idle: Duration::from_secs(1),
            drain: Duration::from_secs(5),
        }
    }
}
