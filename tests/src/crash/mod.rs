//! Crashes of the real binary: who is killed, in the middle of what, and what must hold afterwards.
//!
//! A [`plan::Plan`] is drawn from a seed; a [`drill::Drill`] carries it out on
//! a server of its own and then looks at everything: what was acknowledged,
//! what the server says of leaks, and the host itself.

pub mod drill;
pub mod plan;
pub mod starts;
pub mod victims;
