//! How the ingress proves who it is: a certificate and its key, in files that may change while it runs.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// What can be spoken in TLS, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read as what it should be.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// The two do not belong together, or TLS cannot use them.
    #[error("the certificate in {path} cannot be used: {why}")]
    Unfit {
        /// The certificate's file.
        path: String,
        /// Why.
        why: String,
    },
}

/// Which files were read: when each was last changed.
type Stamp = (SystemTime, SystemTime);

/// A certificate that is read again when it changes. One that cannot be used changes nothing.
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Stamp>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads a chain, the server's own first, and its key, both in PEM.
    ///
    /// # Errors
    /// [`Error`], naming the file.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Arc<Self>, Error> {
        let seen = stamp(&certificate, &key)?;
        let current = read(&certificate, &key)?;
        Ok(Arc::new(Self {
            certificate,
            key,
            current: RwLock::new(Arc::new(current)),
            seen: Mutex::new(seen),
        }))
    }

    /// How to speak TLS with it.
    pub fn server_config(self: &Arc<Self>) -> Arc<ServerConfig> {
        let provider = Arc::new(default_provider());
        let versions = rustls::DEFAULT_VERSIONS;
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let builder = builder.unwrap_or_else(|never| unreachable!("ring speaks every version: {never}"));
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Arc::new(config)
    }

    /// Looks now and then whether the files have changed, for as long as this runs.
    pub async fn reload_for_ever(&self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            match self.reload() {
                Ok(true) => {
                    tracing::info!(certificate = %self.certificate.display(), "the certificate was read anew")
                }
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the certificate that is in use stays"),
            }
        }
    }

    /// Reads the files again if they have changed. Whether they had.
    ///
    /// # Errors
    /// As [`Certificates::open`]; what was in use stays.
    pub fn reload(&self) -> Result<bool, Error> {
        let now = stamp(&self.certificate, &self.key)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Ok(false);
        }
        let read = Arc::new(read(&self.certificate, &self.key)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = read;
        *seen = now;
        Ok(true)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn stamp(certificate: &Path, key: &Path) -> Result<Stamp, Error> {
    let changed = |path: &Path| {
        let seen: io::Result<SystemTime> = fs::metadata(path).and_then(|metadata| metadata.modified());
        seen.map_err(|error| unreadable(path, &error))
    };
    Ok((changed(certificate)?, changed(key)?))
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, Error> {
    let chain =
        CertificateDer::pem_file_iter(certificate).map_err(|error| unreadable(certificate, &error))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|error| unreadable(certificate, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    let unfit = |why: String| Error::Unfit { path: certificate.display().to_string(), why };
    if chain.is_empty() {
        return Err(unfit("there is none in PEM".into()));
    }
    let signer = any_supported_type(&secret).map_err(|error| unreadable(key, &error))?;
    let certified = CertifiedKey::new(chain, signer);
    certified.keys_match().map_err(|error| unfit(format!("{} is another's key: {error}", key.display())))?;
    Ok(certified)
}

fn unreadable(path: &Path, why: &dyn fmt::Display) -> Error {
    Error::File { path: path.display().to_string(), why: why.to_string() }
}
