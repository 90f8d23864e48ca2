//! The secret that keys are hashed with.
//!
//! The store has only the HMAC-SHA-256 of a key under this secret, which lives in a file beside the
//! database: a copy of the database alone opens nothing. What is compared is the hash, in an index:
//! how long that takes tells nothing about a key, for nobody can choose a key by its hash.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::entropy;
use crate::error::{Error, Result};
use crate::private_file;

/// Bytes of the secret.
const PEPPER_BYTES: usize = 32;

/// The secret's file in the data directory.
pub const PEPPER_FILE: &str = "pepper";

/// The secret that keys are hashed with.
pub struct Pepper([u8; PEPPER_BYTES]);

impl Pepper {
    /// Reads the secret of this data directory. One that is missing is made, unless keys are known
    /// that were hashed with it.
    pub fn open(data_dir: &Path, keys_exist: bool) -> Result<Self> {
        let path = data_dir.join(PEPPER_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound && !keys_exist => Self::create(&path),
            Err(error) => {
                let what = "cannot read the secret that the keys in the database were hashed with";
                let hint = "restore it from the backup the database is from";
                Err(Error::start(format!("{what}, {} ({hint})", path.display()), error))
            }
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let mut bytes = [0; PEPPER_BYTES];
        hex::decode_to_slice(text.trim_end(), &mut bytes).map_err(|error| {
            Error::start(format!("{} should be {PEPPER_BYTES} bytes in hexadecimal", path.display()), error)
        })?;
        Ok(Self(bytes))
    }

    fn create(path: &Path) -> Result<Self> {
        let bytes = entropy::bytes()?;
        private_file::create(path, hex::encode(bytes).as_bytes())?;
        Ok(Self(bytes))
    }

    /// What the store keeps of a key. The same work for any text, well formed or not.
    pub fn hash(&self, key: &str) -> String {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC accepts every key length");
        mac.update(key.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_has_another_hash_under_another_pepper() {
        let (a, b) = (Pepper([1; PEPPER_BYTES]), Pepper([2; PEPPER_BYTES]));
        assert_eq!(a.hash("atoll_x"), a.hash("atoll_x"));
        assert_ne!(a.hash("atoll_x"), b.hash("atoll_x"));
        assert_ne!(a.hash("atoll_x"), a.hash("atoll_y"));
    }

    #[test]
    fn the_pepper_is_made_once_and_nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let first = Pepper::open(dir.path(), false).unwrap();
        let second = Pepper::open(dir.path(), true).unwrap();
        assert_eq!(first.hash("k"), second.hash("k"));
        let mode = fs::metadata(dir.path().join(PEPPER_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_pepper_is_an_error_not_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(PEPPER_FILE), "not hexadecimal").unwrap();
        assert!(Pepper::open(dir.path(), false).is_err());
    }

    #[test]
    fn a_lost_pepper_is_not_replaced_while_keys_depend_on_it() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            assert!(Pepper::open(dir.path(), true).is_err());
        }
    }
}
