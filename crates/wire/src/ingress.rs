//! What the ingress asks: control where a request may go, and a node for the way there.
//!
//! Control is asked by HTTP/1.1 with JSON bodies, over a Unix socket on one box: `POST /v1/route` [`RouteQuery`] is
//! answered with a [`Passage`], or with what the public API would say to the same caller. What was answered is as good as
//! asked anew as long as [`crate::changes`] says so and it is not over by itself ([`Passage::until_ms`]); what control no longer
//! allows is over from then on. `POST /v1/passage` asks the same for something that is under way already: nothing is waited
//! for, nobody is woken, and the answer is an [`Allowed`]. What was counted is told by `POST /v1/counts` [`counts::Counts`].
//!
//! A node is asked for connections over a link: a Unix socket of its own (`SOCK_SEQPACKET`, each message one of JSON) on
//! which nothing else can be asked. One link is enough for all that an ingress wants, however many at once: each
//! [`Dial`] has an id of the ingress's choosing, and the node answers when it can, in any order. With
//! [`DialAnswer::Connected`] comes a descriptor (`SCM_RIGHTS`): a connected socket. It is lent until the node says
//! [`DialAnswer::Over`], for the sandbox goes away, or the ingress [`DialOrder::Done`]. When the link ends, so does
//! all that was lent or asked for over it.

pub mod counts;

use serde::{Deserialize, Serialize};

use crate::id::{KeyId, NodeId, SandboxId};
use crate::token::Token;

/// A message of any of them, in bytes, at most.
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

/// Names a connection on the link over which it was asked for, where no other ever has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LoanId(pub u64);

/// What an ingress tells a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DialOrder {
    /// A connection is wanted.
    Dial(Dial),
    /// It is wanted no more, whether it came or not; its descriptor is closed.
    Done(LoanId),
}

/// A connection that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dial {
    /// As what.
    pub id: LoanId,
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
    Connected(LoanId),
    /// There is none.
    Refused {
        /// The one that was wanted.
        id: LoanId,
        /// Why.
        refusal: DialRefusal,
    },
    /// It must not be used any more, or will not come: its sandbox goes away. There is nothing to give back.
    Over(LoanId),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_link_are_short_and_each_comes_back_as_it_was() {
        let id = LoanId(u64::MAX);
        let sandbox = SandboxId::from_entropy([7; 20]);
        let dial = Dial { id, sandbox, port: u16::MAX, wait_ms: u64::MAX };
        for order in [DialOrder::Dial(dial), DialOrder::Done(id)] {
            let said = serde_json::to_vec(&order).unwrap();
            assert!(said.len() < ANSWER_BYTES_MAX);
            assert_eq!(serde_json::from_slice::<DialOrder>(&said).unwrap(), order);
        }
        let refusal = DialRefusal { code: DialRefusalCode::NotListening, message: "nobody".into() };
        for answer in
            [DialAnswer::Connected(id), DialAnswer::Refused { id, refusal }, DialAnswer::Over(LoanId(0))]
        {
            let said = serde_json::to_vec(&answer).unwrap();
            assert_eq!(serde_json::from_slice::<DialAnswer>(&said).unwrap(), answer);
        }
        assert_eq!(serde_json::to_string(&DialOrder::Done(LoanId(7))).unwrap(), r#"{"done":7}"#);
    }
}
