//! One sandbox: its life as a pure function, what is remembered of it on
//! disk, and the task that owns it.

pub mod handle;
pub mod lifecycle;
pub mod pulse;
pub mod record;
mod renew;
pub mod scribe;
pub mod talk;
pub mod task;

mod boot;
mod bring_up;
mod capture;
mod diagnosis;
mod dial;
mod orders;
mod stop;
mod tear_down;
mod waits;
