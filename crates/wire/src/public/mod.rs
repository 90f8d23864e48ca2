//! The public API, `/v1`: what users send and what they get.
//!
//! Times are RFC 3339 in UTC, unless a field's name says otherwise. Fields that
//! have no value are left out, never `null`: clients in use crash on `null`.

pub mod error;
pub mod event;
pub mod file;
pub mod key;
pub mod limits;
pub mod operator;
pub mod presigned;
pub mod process;
pub mod pty;
pub mod sandbox;
#[cfg(feature = "schema")]
pub mod schema;
pub mod snapshot;
pub mod team;
pub mod template;
pub mod watch;
