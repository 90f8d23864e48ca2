//! Bytes in, bytes out: what reaches a sandbox from outside.
//!
//! The ingress is a process of its own, unprivileged, for it parses what
//! strangers send and what untrusted code answers. It knows no engine and no
//! store: control says where a request may go ([`ingress::routes`]), and a node
//! hands it a connection to that port and no other ([`dial`]).

pub mod dial;
pub mod ingress;

mod leased;
mod patient;
