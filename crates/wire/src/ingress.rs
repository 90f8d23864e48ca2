//! What the ingress asks: control where a request may go, and a node for the way there.
//!
//! Control is asked by HTTP/1.1 with JSON bodies, over a Unix socket on one box: `POST /v1/route` [`RouteQuery`] is
//! answered with a [`Passage`], or with what the public API would say to the same caller. What was answered is as good as
//! asked anew as long as [`crate::changes`] says so and it is not over by itself ([`Passage::until_ms`]); what control no longer
//! allows is over from then on. `POST /v1/passage` asks the same for something that is under way already: nothing is waited
//! for, nobody is woken, and the answer is an [`Allowed`]. What was counted is told by `POST /v1/counts` [`counts::Counts`].
//!
//! A node is asked for one connection with a line of JSON, a [`Dial`], over a Unix socket of its own on which nothing
//! else can be asked; it answers with a line, a [`DialAnswer`]. With the first byte of [`DialAnswer::Connected`] comes
//! a descriptor (`SCM_RIGHTS`): a connected TCP socket. The Unix socket then stays open, silent, as long as the
//! connection may be used: the node closes it when the sandbox goes away, and the ingress when it is done.

pub mod counts;

use serde::{Deserialize, Serialize};

use crate::id::{KeyId, NodeId, SandboxId};
use crate::token::Token;

/// An order or an answer, in bytes, at most.
pub const ANSWER_BYTES_MAX: usize = 4096;

/// Where a request wants to go, and who sends it. Not `Debug`: there is a key in it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RouteQuery {
    /// Where to.
    pub to: Destination,
    /// With which API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Where a request wants to go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// To a sandbox.
    Sandbox {
        /// Which.
        sandbox: SandboxId,
        /// To which port; absent, the one its environment names as `PORT`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    },
    /// To where a presigned URL leads, whose token is all that is needed.
    Presigned(Token),
}

/// Where a request may go, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Where it goes.
    pub route: Route,
    /// The API key that opened it; absent, none was needed, and what was sent as one is the app's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// When it is over by itself, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

/// What is under way may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// When that is over by itself, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The sandbox, which runs.
    pub sandbox: SandboxId,
    /// The port.
    pub port: u16,
    /// Where it is.
    pub node: NodeId,
}

/// A connection that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dial {
    /// Into which sandbox.
    pub sandbox: SandboxId,
    /// To which port.
    pub port: u16,
    /// For so long somebody may take to listen there, in milliseconds.
    pub wait_ms: u64,
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DialAnswer {
    /// The connection comes with this.
    Connected,
    /// There is none.
    Refused(DialRefusal),
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct DialRefusal {
    /// What kind.
    pub code: DialRefusalCode,
    /// For people.
    pub message: String,
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DialRefusalCode {
    /// The node has no such sandbox, or it is going away.
    Gone,
    /// Nobody listens on the port.
    NotListening,
    /// The port is not for users.
    Forbidden,
    /// The node cannot be asked, or failed.
    Unreachable,
}
