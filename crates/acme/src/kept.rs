//! A certificate that was issued, as it is kept: in one file, so that key and chain always belong together.

use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::trouble::Trouble;
use crate::validity::Validity;

/// Its name in the directory.
pub const CERTIFICATE_FILE: &str = "certificate.pem";

/// No certificate with its chain is longer, in bytes.
const BYTES_MAX: u64 = 1024 * 1024;
/// Where the first certificate of the chain begins. The key comes before.
const CHAIN_BEGINS: &str = "-----BEGIN CERTIFICATE-----";

/// A certificate, its key, and how long it counts.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The chain, the server's own certificate first, in PEM.
    pub chain: String,
    /// Its key, in PEM.
    pub key: String,
    /// From when until when.
    pub validity: Validity,
}

impl Kept {
    /// What is in a file, which may be somebody's whom the reader does not trust: no link is followed, and nothing but a
    /// chain with its own key is taken. `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Option<Self>, Trouble> {
        let trouble = |why: &dyn std::fmt::Display| Trouble::new(format!("reading {}", path.display()), why);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => std::fs::File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(trouble(&error)),
        };
        if !file.metadata().map_err(|error| trouble(&error))?.is_file() {
            return Err(trouble(&"it is no file"));
        }
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text).map_err(|error| trouble(&error))?;
        Self::parse(&text).map(Some).map_err(|why| trouble(&why))
    }

    /// A key and then a chain.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let begin = text.find(CHAIN_BEGINS).ok_or("there is no certificate in it")?;
        let (key, chain) = text.split_at(begin);
        let secret = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| error.to_string())?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let certificates = certificates.map_err(|error| error.to_string())?;
        let first = certificates.first().ok_or("there is no certificate in it")?;
        let validity = Validity::of(first).ok_or("nobody can see how long the certificate counts")?;
        let signer = any_supported_type(&secret).map_err(|error| error.to_string())?;
        let certified = CertifiedKey::new(certificates, signer);
        certified.keys_match().map_err(|error| format!("the key is another certificate's: {error}"))?;
        Ok(Self { chain: chain.to_owned(), key: key.to_owned(), validity })
    }

    /// As it is kept.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.key, self.chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_not_followed_and_what_is_not_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        assert!(Kept::read(&target).unwrap().is_none());
        std::fs::write(&target, "a secret").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(Kept::read(&link).unwrap_err().to_string().contains("link"));
        let error = Kept::read(&target).unwrap_err().to_string();
        assert!(error.contains("no certificate") && !error.contains("secret"), "{error}");
        assert!(Kept::read(dir.path()).is_err());
    }
}
