//! Randomness, all of it from the kernel.

use anyhow::{Result, anyhow};

/// `N` random bytes.
///
/// # Errors
/// When the kernel has none.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(bytes)
}
