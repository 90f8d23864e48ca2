//! One file a command.

pub mod completions;
pub mod configuration;
pub mod doctor;
pub mod files;
pub mod run;
pub mod sandbox;
pub mod template;
