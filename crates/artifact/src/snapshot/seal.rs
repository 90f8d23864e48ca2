//! Sealing: what is written can be neither read nor changed nor exchanged for another by who keeps it.
//!
//! AES-256-GCM, of which CPUs do several GiB a second. Each store and each manifest has a key of its own, derived from a
//! data key and a random salt that is part of the object's name, so that random nonces are used under one key a few
//! million times at most. What is sealed is bound to what it is by the associated data.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::error::{Error, Result};

/// What sealing adds in front.
pub(super) const HEAD_BYTES: usize = NONCE_LEN;
/// What it adds at the end.
pub(super) const TAG_BYTES: usize = 16;
/// What it adds in all.
pub(super) const SEAL_BYTES: usize = HEAD_BYTES + TAG_BYTES;

/// Seals and opens with one key.
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    /// With this key, whatever it is used for.
    pub(super) fn new(key: &[u8; 32]) -> Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| broken("a key has another length"))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// With a key of its own for this salt.
    pub(super) fn derived(key: &[u8; 32], context: &str, salt: &[u8]) -> Result<Self> {
        let key = blake3::derive_key(context, key);
        Self::new(blake3::keyed_hash(&key, salt).as_bytes())
    }

    /// Seals all behind the first [`HEAD_BYTES`], which the nonce is written to, and appends the tag.
    pub(super) fn seal(&self, about: &[u8], buffer: &mut Vec<u8>) -> Result<()> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let (head, content) =
            buffer.split_at_mut_checked(HEAD_BYTES).ok_or_else(|| broken("there is no room for a nonce"))?;
        head.copy_from_slice(&nonce);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(about), content);
        buffer.extend_from_slice(tag.map_err(|_| broken("the cipher failed"))?.as_ref());
        Ok(())
    }

    /// The content of what was sealed about this; none if it was changed, or is about something else.
    pub(super) fn open<'a>(&self, about: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let (nonce, content) = sealed.split_first_chunk_mut::<HEAD_BYTES>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.open_in_place(nonce, Aad::from(about), content).ok()
    }
}

/// Bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| broken("the system has no random bytes"))?;
    Ok(bytes)
}

/// What does not happen, said in case it does.
fn broken(what: &'static str) -> Error {
    Error::Io { what: "seal".into(), source: std::io::Error::other(what) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_or_is_about_something_else_does_not_open() {
        let cipher = Cipher::derived(&[1; 32], "a test", b"salt").unwrap();
        let mut sealed = vec![0; HEAD_BYTES];
        sealed.extend_from_slice(b"secret");
        cipher.seal(b"it", &mut sealed).unwrap();
        assert_eq!(cipher.open(b"it", &mut sealed.clone()).unwrap(), b"secret");
        assert!(cipher.open(b"that", &mut sealed.clone()).is_none());
        let other = Cipher::derived(&[1; 32], "a test", b"other salt").unwrap();
        assert!(other.open(b"it", &mut sealed.clone()).is_none());
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(cipher.open(b"it", &mut changed).is_none(), "byte {index}");
            assert!(cipher.open(b"it", &mut sealed[..index].to_vec()).is_none(), "{index} bytes");
        }
    }
}
