//! Whose signature on a registry's certificate counts.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::oci::settings::{Authority, Host};

/// Where Debian's certificates come from.
const PACKAGE: &str = "ca-certificates";

/// The certificates of authorities.
#[derive(Debug)]
pub(crate) struct Tls {
    own: Vec<(Host, Arc<ClientConfig>)>,
    /// Read when first needed: a node may never speak to a registry that takes them.
    system: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Tls {
    /// # Errors
    /// When a file has no certificates; in words for the operator.
    pub(crate) fn new(authorities: &[Authority]) -> Result<Self, String> {
        let own = authorities.iter().map(|authority| {
            let roots = read_file(&authority.file).map_err(|error| {
                format!("--registry-ca {authority}: {}: {error}", authority.file.display())
            })?;
            Ok((authority.host.clone(), config(roots)?))
        });
        Ok(Self { own: own.collect::<Result<_, String>>()?, system: OnceLock::new() })
    }

    /// How to speak TLS to this host.
    pub(crate) fn for_host(&self, host: &str, port: u16) -> Result<Arc<ClientConfig>, String> {
        match self.own.iter().find(|(own, _)| own.matches(host, port)) {
            Some((_, config)) => Ok(config.clone()),
            None => self.system.get_or_init(|| config(read_system()?)).clone(),
        }
    }
}

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read_file(path: &Path) -> Result<RootCertStore, String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("it has no certificate in PEM".into()) } else { Ok(roots) }
}

/// Those this machine believes, which are the operator's to change.
fn read_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(format!(
            "this machine has no certificates to know registries by: install the package {PACKAGE}"
        ));
    }
    Ok(roots)
}
