//! One file a command.

pub mod completions;
pub mod configuration;
pub mod doctor;
pub mod events;
pub mod files;
pub mod key;
mod paging;
pub mod process;
mod pruned;
mod removal;
pub mod run;
pub mod sandbox;
pub mod snapshot;
pub mod team;
pub mod template;
pub mod whoami;
