//! What proves the ingress to its clients: a certificate of an authority of our own, or the operator's, or one that was
//! issued by ACME, as soon as there is one.
//!
//! The process that serves strangers gets a copy in files of its own, which it reads again when they change.

mod authority;
mod der;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use ::acme::Kept;
use anyhow::{Context, Result};
use jiff::Timestamp;
use proxy::ingress::tls::Certificates;

use self::authority::{Authority, Key, LEAF_LIFE, read_pem};
use super::layout::{Layout, make_dir};
use super::settings::Resolved;

/// Between two looks at files that others change.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Between two certificates of our own.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const _: () = assert!(RENEWAL_INTERVAL.as_secs() * 2 < LEAF_LIFE.as_secs());

/// The certificate that is served, and where it comes from.
pub struct Certificate {
    /// The chain that is served.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who is to be believed, if it is an authority of our own.
    pub authority: Option<PathBuf>,
    source: Source,
    /// Where one is put that was issued.
    issued: Option<PathBuf>,
    reader: Option<u32>,
}

enum Source {
    Own { authority: Box<Authority>, names: Vec<String>, addresses: Vec<IpAddr> },
    Operator { chain: PathBuf, key: PathBuf },
}

impl Certificate {
    /// Makes it, or copies it, for a process that runs as `reader`.
    ///
    /// # Errors
    /// When a file cannot be read or written, or the operator's cannot be used.
    pub fn prepare(layout: &Layout, settings: &Resolved, reader: Option<u32>) -> Result<Self> {
        let directory = layout.tls_dir();
        make_dir(&directory, 0o755)?;
        let authority_file = directory.join("ca.pem");
        let (source, authority) = match &settings.ingress.certificate {
            Some((chain, key)) => (Source::Operator { chain: chain.clone(), key: key.clone() }, None),
            None => {
                let authority = open_authority(layout, &authority_file)?;
                (own(authority, settings), Some(authority_file))
            }
        };
        let (chain, key) = (layout.ingress_chain(), directory.join("ingress.key"));
        let issued = settings.acme.as_ref().map(|acme| super::acme::certificate(layout, settings, acme));
        let mut certificate = Self { chain, key, authority, source, issued, reader };
        certificate.renew()?;
        if certificate.issued().is_some() {
            certificate.authority = None;
        }
        Certificates::open(certificate.chain.clone(), certificate.key.clone())?;
        Ok(certificate)
    }

    /// Renews what we signed before it is too old, and copies what others changed, for as long as this runs.
    pub async fn keep(&self) -> std::convert::Infallible {
        let (mut seen, mut renewed) = (self.changed(), Instant::now());
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = self.changed();
            let is_old = matches!(self.source, Source::Own { .. }) && renewed.elapsed() > RENEWAL_INTERVAL;
            if seen == now && !is_old {
                continue;
            }
            (seen, renewed) = (now, Instant::now());
            if let Err(error) = self.renew() {
                tracing::error!("the certificate of the ingress is not renewed: {error:#}");
            }
        }
    }

    /// When the files of others were changed.
    fn changed(&self) -> Vec<Option<SystemTime>> {
        let mut others: Vec<&Path> = self.issued.as_deref().into_iter().collect();
        if let Source::Operator { chain, key } = &self.source {
            others.extend([chain.as_path(), key]);
        }
        let changed = |path: &&Path| fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok();
        others.iter().map(changed).collect()
    }

    /// What was issued, if it can be used.
    fn issued(&self) -> Option<Kept> {
        let read = Kept::read(self.issued.as_deref()?);
        read.unwrap_or_else(|error| {
            tracing::error!("the certificate that was issued cannot be used: {error}");
            None
        })
    }

    fn renew(&self) -> Result<()> {
        let (chain, key) = match (&self.source, self.issued()) {
            (_, Some(issued)) => (issued.chain, issued.key),
            (Source::Own { authority, names, addresses }, None) => {
                let key = Key::generate()?;
                (authority.sign(names, addresses, &key, Timestamp::now())?, key.pem())
            }
            (Source::Operator { chain, key }, None) => (read(chain)?, read(key)?),
        };
        // A reader that comes in between finds two that do not fit, and keeps what it has.
        write(&self.key, &key, 0o600, self.reader)?;
        write(&self.chain, &chain, 0o644, None)
    }
}

/// Our own authority: made once, and again only if what is left of it is not whole.
fn open_authority(layout: &Layout, certificate: &Path) -> Result<Authority> {
    let (name, key_file) = (format!("Atoll authority {}", layout.instance), layout.tls_dir().join("ca.key"));
    if certificate.exists() && key_file.exists() {
        let key = read(&key_file).and_then(|text| Key::read(&read_pem(&text)?));
        return Ok(Authority::new(name, key.with_context(|| key_file.display().to_string())?));
    }
    let key = Key::generate()?;
    write(&key_file, &key.pem(), 0o600, None)?;
    let authority = Authority::new(name, key);
    write(certificate, &authority.certificate(Timestamp::now())?, 0o644, None)?;
    Ok(authority)
}

/// For every name and address that leads to where we listen, as far as we can know them.
fn own(authority: Authority, settings: &Resolved) -> Source {
    let domain = &settings.ingress.domain;
    let names = vec![domain.to_string(), format!("*.{domain}"), "localhost".to_owned()];
    let mut addresses: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let listen = settings.ingress.listen.ip();
    if !listen.is_unspecified() && !addresses.contains(&listen) {
        addresses.push(listen);
    }
    Source::Own { authority: Box::new(authority), names, addresses }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Puts a file there, whole.
fn write(path: &Path, text: &str, mode: u32, owner: Option<u32>) -> Result<()> {
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    if owner.is_some() {
        chown(&temporary, owner, owner)?;
    }
    fs::rename(&temporary, path).with_context(|| format!("{} cannot be written", path.display()))
}
