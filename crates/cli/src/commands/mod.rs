//! One file a command.

pub mod completions;
pub mod configuration;
pub mod doctor;
pub mod events;
pub mod files;
pub mod key;
mod paging;
pub mod process;
pub mod run;
pub mod sandbox;
pub mod team;
pub mod template;
pub mod whoami;
