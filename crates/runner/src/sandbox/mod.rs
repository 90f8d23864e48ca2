//! One sandbox: its life as a pure function, what is remembered of it on
//! disk, and the task that owns it.

pub mod handle;
pub mod lifecycle;
pub mod pulse;
pub mod record;
pub mod scribe;
pub mod talk;
pub mod task;

mod boot;
mod bring_up;
mod diagnosis;
mod dial;
mod stop;
mod tear_down;
mod waits;

/// An error and all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
