//! What the ingress has counted since it was started: `POST /v1/counts`, now and then. Nothing in it grows with sandboxes or
//! clients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Upper bounds of how long requests waited for leave, in seconds: from an answer at once to a wake of some size.
pub const WAIT_SECONDS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// Names that a count may have.
pub const NAMES_MAX: usize = 64;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests, by what became of them: the class of what the app answered, or `refused`.
    pub requests: BTreeMap<String, u64>,
    /// Those that were refused, by the code of the refusal, which is the name of a limit where one was met.
    pub refusals: BTreeMap<String, u64>,
    /// Connections of clients that are open.
    pub connections: u64,
    /// Of these, or of their streams, those that have become WebSockets.
    pub upgraded: u64,
    /// Connections to apps that were asked for.
    pub dials: u64,
    /// Those that did not come about, by why.
    pub dial_failures: BTreeMap<String, u64>,
    /// Bytes to apps, heads included.
    pub bytes_to_apps: u64,
    /// Bytes from apps, heads included.
    pub bytes_from_apps: u64,
    /// What was under way and was cut, since it was no longer allowed.
    pub cut: u64,
    /// Requests that waited for leave, a wake included, for so long: one count for each of [`WAIT_SECONDS`], and one for
    /// those that waited longer.
    pub waits: [u64; WAIT_SECONDS.len() + 1],
    /// How long they waited in all, in microseconds.
    pub waited_us: u64,
}
