//! Processes: started, fed, listened to, ended, reaped.

pub mod plan;
pub mod reaper;
pub mod spawner;

mod exec;
mod input;
mod kill;
mod output;
mod script;
mod spawn;

pub use exec::exec;
