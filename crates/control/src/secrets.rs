//! Secrets of others, encrypted at rest.
//!
//! XChaCha20-Poly1305 with random nonces, under keys from a file that is not the database ([`wire::keyring`]). The first
//! seals, all open: to rotate, put a new line in front and start the server, which then seals everything anew; the old
//! line can go after that. What is sealed is bound to its owner: in another's
//! place it does not open.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use wire::keyring::{self, FileKey, KEY_BYTES};

use crate::entropy;
use crate::error::{Error, Result};
use crate::private_file;

/// The file in the data directory, where the operator names none.
pub const KEY_FILE: &str = "secrets-keys";

/// Bytes of a nonce: long enough to be drawn at random.
const NONCE_BYTES: usize = 24;
/// How what is sealed is written; another way would have another name.
const FORMAT: &str = "x1";

/// A secret that opens with a key that is not beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// What users may know of it: the type of credentials.
    pub kind: String,
    /// Format, key and content.
    pub text: String,
}

/// Why something sealed does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// Its key is not there.
    #[error("it is sealed with the key {0:?}, which the secrets key file does not have")]
    NoKey(String),
    /// It was changed, or belongs to somebody else.
    #[error("it does not open with its key: it was changed, or belongs elsewhere")]
    Broken,
}

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

/// The keys.
pub struct Secrets {
    /// The first seals.
    first: Key,
    others: Vec<Key>,
}

impl Secrets {
    /// The keys in this text, or those of this data directory, where one is made if there is none.
    pub fn open(data_dir: &Path, given: Option<&str>) -> Result<Self> {
        if let Some(text) = given {
            return parse(text).map_err(|what| Error::Start(format!("the secrets key file: {what}"), None));
        }
        let path = data_dir.join(KEY_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let text = generate()?;
                private_file::create(&path, text.as_bytes())?;
                text
            }
            Err(error) => return Err(Error::start(format!("cannot read {}", path.display()), error)),
        };
        parse(&text).map_err(|what| Error::Start(format!("{}: {what}", path.display()), None))
    }

    /// Seals a secret for its owner.
    pub fn seal(&self, secret: &[u8], owner: &str) -> Result<String> {
        let nonce: [u8; NONCE_BYTES] = entropy::bytes()?;
        let payload = Payload { msg: secret, aad: owner.as_bytes() };
        let sealed = self.first.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Error::internal("a secret cannot be sealed", "the cipher failed"))?;
        let content = STANDARD.encode([&nonce[..], &sealed].concat());
        Ok(format!("{FORMAT}:{}:{content}", self.first.id))
    }

    /// Opens what was sealed for this owner.
    pub fn unseal(&self, sealed: &str, owner: &str) -> std::result::Result<Vec<u8>, Unopened> {
        let (id, content) = parts(sealed).ok_or(Unopened::Broken)?;
        let key = [&self.first].into_iter().chain(&self.others).find(|key| key.id == id);
        let key = key.ok_or_else(|| Unopened::NoKey(id.to_owned()))?;
        let bytes = STANDARD.decode(content).map_err(|_| Unopened::Broken)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(Unopened::Broken)?;
        let payload = Payload { msg: sealed, aad: owner.as_bytes() };
        key.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| Unopened::Broken)
    }

    /// Whether it is sealed with the key that seals now.
    pub fn is_current(&self, sealed: &str) -> bool {
        parts(sealed).is_some_and(|(id, _)| id == self.first.id)
    }
}

/// The key's id and the content.
fn parts(sealed: &str) -> Option<(&str, &str)> {
    sealed.strip_prefix(FORMAT)?.strip_prefix(':')?.split_once(':')
}

/// A new key file.
fn generate() -> Result<String> {
    let (id, key): ([u8; 4], [u8; KEY_BYTES]) = (entropy::bytes()?, entropy::bytes()?);
    Ok(format!("key-{} {}\n", hex::encode(id), hex::encode(key)))
}

/// The keys of a key file.
fn parse(text: &str) -> std::result::Result<Secrets, String> {
    let (first, others) = keyring::parse(text)?;
    Ok(Secrets { first: first.into(), others: others.into_iter().map(Key::from).collect() })
}

impl From<FileKey> for Key {
    fn from(key: FileKey) -> Self {
        Self { id: key.id, cipher: XChaCha20Poly1305::new(&key.bytes.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn line(id: &str, byte: u8) -> String {
        format!("{id} {}\n", hex::encode([byte; KEY_BYTES]))
    }

    fn keys(lines: &[String]) -> Secrets {
        parse(&lines.concat()).expect("they are keys")
    }

    #[test]
    fn what_is_sealed_opens_for_its_owner_alone() {
        let secrets = keys(&[line("a", 1)]);
        let sealed = secrets.seal(b"secret", "team-1/tpl-1").unwrap();
        assert_eq!(secrets.unseal(&sealed, "team-1/tpl-1").unwrap(), b"secret");
        assert_eq!(secrets.unseal(&sealed, "team-1/tpl-2"), Err(Unopened::Broken));
        assert_ne!(sealed, secrets.seal(b"secret", "team-1/tpl-1").unwrap(), "no nonce is used twice");
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let secrets = keys(&[line("a", 1)]);
        let sealed = secrets.seal(b"secret", "o").unwrap();
        let content = STANDARD.decode(sealed.rsplit(':').next().unwrap()).unwrap();
        for index in 0..content.len() {
            let mut changed = content.clone();
            changed[index] ^= 1;
            let changed = format!("x1:a:{}", STANDARD.encode(changed));
            assert_eq!(secrets.unseal(&changed, "o"), Err(Unopened::Broken), "byte {index}");
        }
        for text in ["", "x1", "x1:a", "x1:a:", "x1:a:AAAA", "x2:a:AAAA", "x1:a:not base64"] {
            assert_eq!(secrets.unseal(text, "o"), Err(Unopened::Broken), "{text}");
        }
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let old = keys(&[line("old", 1)]);
        let both = keys(&["# the new one\n\n".to_owned(), line("new", 2), line("old", 1)]);
        let new = keys(&[line("new", 2)]);
        let sealed = old.seal(b"secret", "o").unwrap();
        assert!(old.is_current(&sealed) && !both.is_current(&sealed));
        assert_eq!(both.unseal(&sealed, "o").unwrap(), b"secret");
        assert_eq!(new.unseal(&sealed, "o"), Err(Unopened::NoKey("old".into())));
        assert_eq!(new.unseal(&both.seal(b"secret", "o").unwrap(), "o").unwrap(), b"secret");
    }

    #[test]
    fn the_file_is_made_once_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Secrets::open(dir.path(), None).unwrap();
        let sealed = first.seal(b"secret", "o").unwrap();
        let second = Secrets::open(dir.path(), None).unwrap();
        assert_eq!(second.unseal(&sealed, "o").unwrap(), b"secret");
        let mode = fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
