//! A host in trouble: its disk full, slow or broken, its descriptors, processes and memory used up.
//!
//! Each trouble is a value that ends with its drop, so that a story that fails
//! half way leaves the host as it was.

mod disk;
mod holder;
mod limits;
mod office;

pub use disk::{Disk, Filler, Frozen, flush};
pub use holder::held;
pub use limits::{Descriptors, FewProcesses, descriptors, processor_ticks, threads};
pub use office::{Office, Refusal};
