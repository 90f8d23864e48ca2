//! What changes files, one operation a file.

pub mod copy;
mod diff;
pub mod edit;
pub mod make_directory;
pub mod permissions;
pub mod relocate;
pub mod remove;
mod target;
