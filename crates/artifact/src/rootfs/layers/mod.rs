//! An image's layers become one tree.
//!
//! Layers are what strangers wrote: compressed archives, parsed by us as root.
//! So a process of its own does it ([`child`]), which is started for one image
//! and gives up everything but the directory it writes. It has namespaces of
//! its own (no network, no other process, no mount but its directory, which is
//! its `/`), six capabilities, and limits of memory, time and output; it dies
//! with the node. What it reads comes through one pipe and what it says, which
//! is a few lines, through another ([`protocol`]). It is a process and not a
//! thread because a decompressor in C should not share memory with the node.
//!
//! | module | what |
//! | --- | --- |
//! | [`unpacker`] | the node's side: starts the child, feeds it, hears it |
//! | [`limits`] | how much of everything an image may be |
//! | [`protocol`] | what the two say |
//! | [`tar`] | an archive, entry by entry: pure, knows no file system |
//! | [`child`] | the child's side: applies entries to a tree |

pub mod child;
pub mod limits;
pub mod tar;

mod fault;
mod protocol;
mod unpacker;

pub use fault::Fault;
pub use limits::Limits;
pub use protocol::{Compression, LayerReport};
pub use unpacker::Unpacker;
