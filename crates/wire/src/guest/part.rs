//! Streams that end because the machine is about to be stopped, and are gone on with when it goes on.
//!
//! ```text
//! node  -> agent   Pause {rejoinable}
//! agent -> node    End {Parted}                 on each stream that can be gone on with; then the End of the Pause
//! both             hang up; the machine stands still, is written down, goes on
//! node  -> agent   Open {Rejoin}                on a new connection
//! agent -> node    what would have come next    on its stream
//! ```
//!
//! Nothing comes twice and nothing is left out: a Head that was said before is not said again, Data goes on behind the last
//! byte. Of its own Data the node says again what [`Parted::received`] does not count.

use serde::{Deserialize, Serialize};

/// The machine has run for so long, in seconds, when whoever has not come back is waited for no more: what they were told
/// of goes on without them.
pub const REJOIN_SECONDS_MAX: u64 = 60;

/// How a stream is gone on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parted {
    /// What [`Rejoin`] names. It is good once.
    pub ticket: u64,
    /// Bytes of Data that were received on [`super::frame::Channel::Stdin`] since the stream was opened.
    pub received: u64,
    /// Whether more may come: it takes input, whose Eof was not received.
    pub input: bool,
}

/// Goes on with a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejoin {
    /// Which.
    pub ticket: u64,
    /// Whether Data follows on [`super::frame::Channel::Stdin`].
    pub input: bool,
}
