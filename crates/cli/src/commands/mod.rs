//! One file a command.

pub mod doctor;
pub mod run;
pub mod sandbox;
pub mod template;
