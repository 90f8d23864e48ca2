//! From a recipe or from an image's layers to a directory, from a directory to an EROFS file.
//!
//! The same tree always gives the same file ([`erofs`]). The same recipe gives
//! the same tree from the same packages ([`debian`]).

pub mod debian;
pub mod erofs;
pub mod layers;

mod apt;
mod tree;
mod xattrs;
