//! What can go wrong between a node and an agent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use wire::guest::frame::{Channel, Malformed};

/// A failure to talk to an agent. What the agent itself answers is an [`wire::guest::Outcome`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum GuestError {
    /// The agent does not want this node.
    #[error("the agent refused the connection: {0}")]
    Refused(String),
    /// The agent speaks only generations that this node has forgotten.
    #[error("the agent speaks generation {agent} of the guest protocol; this node needs {oldest} or newer")]
    Generation {
        /// The newest the agent speaks.
        agent: u32,
        /// The oldest the node speaks.
        oldest: u32,
    },
    /// The agent did not answer in time.
    #[error("the agent did not answer within {bound:?} while {what}")]
    Timeout {
        /// What was being done.
        what: &'static str,
        /// How long it was given.
        bound: Duration,
    },
    /// The connection is gone, and with it everything that was under way on it.
    #[error("the connection to the agent broke")]
    Broken(#[source] Arc<Cause>),
    /// [`wire::guest::frame::STREAMS_MAX`] requests are under way already.
    #[error("too many requests are under way in this sandbox; wait for some to end")]
    TooManyStreams,
    /// The request, as JSON, is longer than [`wire::guest::frame::MESSAGE_BYTES_MAX`].
    #[error("the request is {bytes} bytes long as JSON; {max} are allowed")]
    RequestTooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// Bytes were sent to a request that takes none, or after their end.
    #[error("this request takes no input, or no more")]
    TakesNoInput,
    /// The agent says that it could not carry the request out.
    #[error(transparent)]
    Failed(wire::guest::Error),
    /// The agent gave the answer to some other kind of request.
    #[error("the agent's answer does not belong to the request")]
    OddAnswer,
    /// The stream has ended already.
    #[error("the request has ended already")]
    Over,
}

/// Why a connection broke.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The agent, or the machine under it, hung up.
    #[error("the agent hung up")]
    HungUp,
    /// The kernel reported a failure.
    #[error("the stream to the agent failed")]
    Io(#[source] io::Error),
    /// What came are not frames.
    #[error("the agent sent something that is not a frame")]
    Malformed(#[source] Malformed),
    /// Frames came that the protocol forbids.
    #[error("the agent broke the protocol on stream {stream}: {violation}")]
    Violation {
        /// Which stream.
        stream: u32,
        /// Which rule.
        violation: Violation,
    },
    /// The node closed it.
    #[error("the node closed the connection")]
    Closed,
    /// Every stream number has been used once; a new connection starts afresh.
    #[error("the connection has used up its stream numbers")]
    Exhausted,
}

/// A rule of the protocol that an agent broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// More Data than was granted.
    #[error("more data than it was granted")]
    Credit,
    /// Data or Eof on a channel that leads towards the agent.
    #[error("{0:?} is not the agent's to send on")]
    Channel(Channel),
    /// Data or Eof on a channel after its Eof.
    #[error("{0:?} went on after its end")]
    AfterEof(Channel),
    /// A Head that is not the first of the stream's words.
    #[error("a head that does not come first")]
    LateHead,
    /// A frame on a stream that never was, or has ended.
    #[error("no such request is under way")]
    NoSuchStream,
    /// A kind of frame that only nodes send, or that belongs elsewhere.
    #[error("a kind of frame that does not belong there")]
    Kind,
    /// A Head or End that is not the JSON it should be.
    #[error("a message that cannot be understood")]
    Json,
    /// A message over [`wire::guest::frame::AGENT_MESSAGE_BYTES_MAX`].
    #[error("a message of {0} bytes")]
    Oversized(usize),
}

impl GuestError {
    pub(super) fn broken(cause: Cause) -> Self {
        Self::Broken(Arc::new(cause))
    }
}
