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
//! | [`recipe`] | the images we ship the recipe of |
//! | [`rootfs`] | recipe or layers → directory → EROFS file |
//! | [`system`] | all of it: [`system::build`] |

pub mod layout;
pub mod lock;
pub mod recipe;
pub mod rootfs;
pub mod system;

mod blocking;
mod durable;
mod error;
mod program;

pub use error::{Error, Result};
pub use layout::{Draft, Image, Images};
