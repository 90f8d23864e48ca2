//! Randomness, all of it from the kernel.

use crate::error::{Error, Result};

/// `N` random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|source| Error::internal("cannot get random bytes", source))?;
    Ok(bytes)
}
