//! From a recipe to a directory, from a directory to an EROFS file.
//!
//! The same tree always gives the same file ([`erofs`]). The same recipe gives
//! the same tree from the same packages ([`debian`]).

pub mod debian;
pub mod erofs;

mod apt;
mod tree;
