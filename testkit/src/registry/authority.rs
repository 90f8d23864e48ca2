//! An authority for certificates of tests, made by the `openssl` program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// An authority, and one certificate it signed, for this machine's loopback address.
#[derive(Debug, Clone)]
pub struct Authority(Arc<TempDir>);

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one, whom nobody else believes.
    ///
    /// # Panics
    /// When `openssl` is not there or fails.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let ca = ["req", "-x509", "-subj", "/CN=A test", "-keyout", "ca.key", "-out", "ca.pem"];
        openssl(dir.path(), &[&ca[..], &key[..]].concat());
        let server = ["req", "-x509", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"];
        let names =
            ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-CA", "ca.pem", "-CAkey", "ca.key"];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
        openssl(dir.path(), &[&server[..], &key[..], &names[..], &leaf[..]].concat());
        Self(Arc::new(dir))
    }

    /// Its certificate, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// The certificate it signed, in PEM.
    pub fn server_certificate(&self) -> PathBuf {
        self.0.path().join("cert.pem")
    }

    /// That certificate's key, in PEM.
    pub fn server_key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// How a server proves that it is this machine.
    ///
    /// # Panics
    /// When what was made is not there any more.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let certificate =
            CertificateDer::from_pem_file(self.0.path().join("cert.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.0.path().join("key.pem")).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("it knows some")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key);
        Arc::new(config.expect("they fit"))
    }
}

/// Runs `openssl` in a directory.
pub(crate) fn openssl(dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).current_dir(dir).stdin(Stdio::null()).output();
    let output = output.expect("openssl is installed: it comes with ca-certificates");
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
