//! Randomness that copies of one checkpoint do not share.
//!
//! The agent itself keeps none: its token is the node's, the names of its temporary files need only differ from each
//! other in one file system, and the keys of its one hash table are never compared with those of a copy. So what is
//! renewed is what processes draw on: the kernel's pool, where there is one in the checkpoint, and the ids below.

use std::io;
use std::io::Write;
use std::path::Path;

use rustix::fs::{FileType, OFlags};
use wire::guest::Error;

use crate::failure;
use crate::root::Root;

/// What a renewal brings, in bytes.
const BYTES: usize = 32;
/// An id, in bytes.
const ID_BYTES: usize = 16;

/// Where programs without the system call draw from, and what is written is stirred in.
const POOL: &str = "/dev/urandom";

/// Random bytes that nobody else was given.
#[derive(Debug, PartialEq, Eq)]
pub struct Entropy([u8; BYTES]);

impl Entropy {
    /// Reads it from hexadecimal digits.
    pub fn parse(digits: &str) -> Result<Self, Error> {
        let is_fit = digits.len() == 2 * BYTES && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let wrong = || failure::invalid(format!("the entropy is not {} hexadecimal digits", 2 * BYTES));
        let mut bytes = [0; BYTES];
        for (index, byte) in bytes.iter_mut().enumerate().filter(|_| is_fit) {
            *byte = u8::from_str_radix(&digits[2 * index..][..2], 16).map_err(|_| wrong())?;
        }
        if is_fit { Ok(Self(bytes)) } else { Err(wrong()) }
    }

    /// Stirs it into the kernel's pool. gVisor has none of its own: what is drawn there is the host's.
    pub fn stir(&self) -> Result<(), String> {
        let failed = |error: io::Error| format!("{POOL}: {}", failure::text(&error));
        let pool = Root::Machine.open(Path::new(POOL), OFlags::WRONLY | OFlags::NONBLOCK);
        let pool = pool.map_err(|error| failed(error.into()))?;
        let stat = rustix::fs::fstat(&pool).map_err(|error| failed(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice {
            return Err(format!("{POOL}: not a device"));
        }
        std::fs::File::from(pool).write_all(&self.0).map_err(failed)
    }

    /// The id of a machine.
    pub fn machine_id(&self) -> io::Result<String> {
        id(&self.0[..ID_BYTES])
    }

    /// The id of a generation.
    pub fn generation_id(&self) -> io::Result<String> {
        id(&self.0[ID_BYTES..])
    }
}

/// An id for a sandbox that is no copy of another one.
pub fn fresh_id() -> io::Result<String> {
    id(&[0; ID_BYTES])
}

/// Drawn from the kernel, whose answer may be the same in every copy, and made this one's own. So it differs wherever the
/// mask does, and does not give the mask away.
fn id(mask: &[u8]) -> io::Result<String> {
    let mut drawn = [0u8; ID_BYTES];
    // SAFETY: writes `drawn`, whose size it is told; so few bytes are all given, or none.
    let length = unsafe { libc::getrandom(drawn.as_mut_ptr().cast(), drawn.len(), 0) };
    if usize::try_from(length) != Ok(drawn.len()) {
        return Err(io::Error::last_os_error());
    }
    Ok(drawn.iter().zip(mask).map(|(drawn, mask)| format!("{:02x}", drawn ^ mask)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_64_digits_or_nothing() {
        let digits = "0f".repeat(BYTES);
        assert_eq!(Entropy::parse(&digits).unwrap(), Entropy([0x0f; BYTES]));
        assert_eq!(Entropy::parse(&digits.to_uppercase()).unwrap(), Entropy([0x0f; BYTES]));
        for wrong in ["", "0f", &digits[1..], &format!("{digits}0f"), &"é".repeat(BYTES), &"+f".repeat(BYTES)]
        {
            assert!(Entropy::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_two_ids_are_the_same() {
        let entropy = Entropy([7; BYTES]);
        let ids = [entropy.machine_id(), entropy.generation_id(), entropy.generation_id(), fresh_id()];
        let ids: std::collections::BTreeSet<_> = ids.into_iter().map(Result::unwrap).collect();
        assert_eq!(ids.len(), 4);
        assert!(
            ids.iter()
                .all(|id| id.len() == 2 * ID_BYTES && id.bytes().all(|digit| digit.is_ascii_hexdigit()))
        );
    }
}
