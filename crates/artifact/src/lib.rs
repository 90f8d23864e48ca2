//! Images on a node's disk, and how they are made.
//!
//! An image is one flattened EROFS file named by the digest of its bytes,
//! with the configuration its processes run with. The same file serves every
//! engine and every sandbox made from it, read only.
//!
//! | module | what |
//! | --- | --- |
//! | [`layout`] | the disk: what is where, and why a crash cannot hurt it |
//! | [`lock`] | which packages an image is made of, exactly |
//! | [`prune`] | what nobody needs goes |
//! | [`recipe`] | the images we ship the recipe of |
//! | [`rootfs`] | recipe or layers → directory → EROFS file |
//! | [`system`] | all of it for ours: [`system::build`] |
//! | `oci` | images of others: registries, and what they say |
//! | `blob` | their layers, fetched once and kept |
//! | `source` | where else images are: layouts and archives on this disk |
//! | [`pull`] | all of it for theirs: [`pull::Puller`] |
//! | [`snapshot`] | what sandboxes were, to be woken from: [`snapshot::Snapshots`] |

pub mod layout;
pub mod lock;
pub mod oci;
pub mod prune;
pub mod pull;
pub mod recipe;
pub mod rootfs;
pub mod snapshot;
pub mod system;

mod blob;
mod blocking;
mod durable;
mod error;
mod program;
mod sigv4;
mod source;

pub use error::{Error, Result};
pub use layout::{Draft, Image, Images};
