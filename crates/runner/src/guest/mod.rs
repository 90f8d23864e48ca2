//! The node's side of the guest protocol ([`wire::guest`]).
//!
//! ```text
//!  GuestSender ──► Outbox ──► driver ──► agent
//!  GuestReceiver ◄── Lane ◄── driver ◄── agent       one Lane per stream, one driver per connection
//! ```
//!
//! The agent is hostile by assumption. What it can make the node keep is
//! bounded: per stream by [`wire::guest::frame::INITIAL_CREDIT_BYTES`] and a
//! few bytes of bookkeeping for each, per connection by
//! [`wire::guest::frame::STREAMS_MAX`] streams and
//! [`wire::guest::frame::AGENT_MESSAGE_BYTES_MAX`] for a message. An agent that breaks the
//! protocol loses its connection; an unread stream holds up only itself.

mod call;
mod connection;
mod driver;
mod error;
mod hello;
mod inbox;
mod lane;
mod outbox;
pub mod relay;
mod sent;
mod shared;
#[cfg(test)]
mod tests;
mod upload;

pub use call::{Event, GuestCall, GuestReceiver, GuestSender};
pub use connection::Connection;
pub use error::{Cause, GuestError};
pub use outbox::OUTBOX_BYTES_MAX;
