//! Certificates by ACME: what is set of it, and the process that has them issued, as a user of its own.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use acme::{CERTIFICATE_FILE, Config, Dns, Keeper, Secret, Update};
use anyhow::{Context, Result, bail, ensure};
use proxy::ingress::host::Domain;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::layout::{Layout, make_dir};
use super::settings::{Resolved, Settings};

/// The authority that is asked where no other is named.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// How long a hook's records need to be seen, in seconds, where nothing else is said.
const HOOK_WAIT_SECONDS: u32 = 30;
/// At the end, removing records has so long.
const CLEAR_BOUND: Duration = Duration::from_secs(10);
/// Bytes of what tells directories and domains apart, in names of files.
const NAME_BYTES: usize = 8;

/// What is set of ACME.
#[derive(Debug, Clone)]
pub struct Acme {
    /// The authority's directory.
    pub directory: String,
    contact: Option<String>,
    signers: Option<PathBuf>,
    way: Way,
    wait_seconds: u32,
}

/// How records come into the DNS, its secrets still in their file.
#[derive(Debug, Clone)]
enum Way {
    Update { server: String, zone: String, key_name: String, key_file: PathBuf },
    Hook(PathBuf),
}

/// What the process is told at its start.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    config: Config,
    /// The process that keeps this one alive.
    server: u32,
}

/// What the settings say of ACME; `None` if nothing.
///
/// # Errors
/// When something is missing, or does not go with something else; with what to do.
pub fn resolve(settings: &Settings, domain: &Domain) -> Result<Option<Acme>> {
    let Some(way) = way(settings, domain)? else { return Ok(None) };
    ensure!(
        settings.ingress_certificate.is_none(),
        "there is either a certificate of yours or one by ACME: take away --ingress-certificate or the --acme-… settings"
    );
    ensure!(
        settings.domain.is_some(),
        "a certificate by ACME needs a --domain of yours, such as sandbox.example.com"
    );
    ensure!(
        settings.acme_accept_terms == Some(true),
        "an authority issues certificates to those alone who accept its terms: read them, and give --acme-accept-terms true"
    );
    let directory = settings.acme_directory.clone().unwrap_or_else(|| DIRECTORY.into());
    let is_url = directory.parse::<http::Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https"));
    ensure!(is_url, "--acme-directory {directory} is no URL of https");
    if let Some(contact) = &settings.acme_contact {
        ensure!(contact.contains('@'), "--acme-contact {contact} is no address of e-mail");
    }
    let wait_seconds = match &way {
        Way::Update { .. } => 0,
        Way::Hook(_) => HOOK_WAIT_SECONDS,
    };
    Ok(Some(Acme {
        directory,
        contact: settings.acme_contact.clone(),
        signers: settings.acme_ca.clone(),
        way,
        wait_seconds: settings.acme_dns_wait_seconds.unwrap_or(wait_seconds),
    }))
}

fn way(settings: &Settings, domain: &Domain) -> Result<Option<Way>> {
    let of_update = [
        settings.acme_dns_zone.is_some(),
        settings.acme_dns_key_name.is_some(),
        settings.acme_dns_key_file.is_some(),
    ];
    let (server, hook) = (&settings.acme_dns_rfc2136, &settings.acme_dns_hook);
    ensure!(
        server.is_some() || !of_update.contains(&true),
        "--acme-dns-zone, --acme-dns-key-name and --acme-dns-key-file are for --acme-dns-rfc2136 SERVER:PORT"
    );
    match (server, hook) {
        (Some(_), Some(_)) => {
            bail!("there is one way into the DNS: give --acme-dns-rfc2136 or --acme-dns-hook")
        }
        (None, None) if is_any_set(settings) => bail!(
            "ACME needs a way to prove whose the domain is: give --acme-dns-rfc2136 SERVER:PORT or --acme-dns-hook PROGRAM"
        ),
        (None, None) => Ok(None),
        (None, Some(program)) => Ok(Some(Way::Hook(std::path::absolute(program)?))),
        (Some(server), None) => update(settings, server, domain).map(Some),
    }
}

fn is_any_set(settings: &Settings) -> bool {
    settings.acme_directory.is_some()
        || settings.acme_contact.is_some()
        || settings.acme_accept_terms.is_some()
        || settings.acme_ca.is_some()
        || settings.acme_dns_wait_seconds.is_some()
}

fn update(settings: &Settings, server: &str, domain: &Domain) -> Result<Way> {
    let is_place =
        server.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    ensure!(
        is_place,
        "--acme-dns-rfc2136 {server} has no port; give SERVER:PORT, such as ns1.example.com:53"
    );
    let (Some(key_name), Some(key_file)) = (&settings.acme_dns_key_name, &settings.acme_dns_key_file) else {
        bail!("--acme-dns-rfc2136 needs --acme-dns-key-name and --acme-dns-key-file: updates are signed");
    };
    let zone = settings.acme_dns_zone.clone().unwrap_or_else(|| domain.to_string());
    let zone = zone.trim_matches('.').to_ascii_lowercase();
    let domain = domain.to_string();
    ensure!(
        domain == zone || domain.strip_suffix(&zone).is_some_and(|rest| rest.ends_with('.')),
        "the domain {domain} is not in the zone {zone}; --acme-dns-zone names the one that it is in"
    );
    Ok(Way::Update {
        server: server.to_owned(),
        zone,
        key_name: key_name.clone(),
        key_file: std::path::absolute(key_file)?,
    })
}

/// Who the process runs as, if we may choose: neither control nor the ingress.
fn uid(settings: &Resolved) -> Option<u32> {
    super::ingress::uid(settings).map(|uid| if uid == 0 { 0 } else { uid.wrapping_add(1) })
}

/// Where the process keeps everything. Another authority, or another domain, is another story.
fn dir(layout: &Layout, settings: &Resolved, acme: &Acme) -> PathBuf {
    let told = format!("{} {}", acme.directory, settings.ingress.domain);
    let name = digest(&SHA256, told.as_bytes());
    let name: String = name.as_ref()[..NAME_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    layout.acme_dir().join(name)
}

/// Where the certificate will be, or is.
pub fn certificate(layout: &Layout, settings: &Resolved, acme: &Acme) -> PathBuf {
    dir(layout, settings, acme).join(CERTIFICATE_FILE)
}

/// Writes down what the process will be told, for its eyes only.
///
/// # Errors
/// When what was set cannot be read or used, or a directory or file cannot be made.
pub fn give_orders(layout: &Layout, settings: &Resolved, acme: &Acme) -> Result<()> {
    let (owner, dir) = (uid(settings), dir(layout, settings, acme));
    let config = config(settings, acme, dir.clone())?;
    Keeper::new(config.clone()).context("the --acme-dns-… settings")?;
    // Its parent is not the process's, so that what is read there by root is where it seems to be.
    make_dir(&layout.acme_dir(), 0o711)?;
    make_dir(&dir, 0o700)?;
    chown(&dir, owner, owner)?;
    let path = layout.acme_orders();
    let _ = fs::remove_file(&path);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
    chown(&path, owner, owner)?;
    let orders = Orders { config, server: std::process::id() };
    Ok(file.write_all(&serde_json::to_vec(&orders)?)?)
}

/// What is in files is read here, for they need not be the process's to read.
fn config(settings: &Resolved, acme: &Acme, dir: PathBuf) -> Result<Config> {
    let signers = acme.signers.as_deref().map(|path| read(path, "--acme-ca")).transpose()?;
    let dns = match &acme.way {
        Way::Update { server, zone, key_name, key_file } => Dns::Update(Update {
            server: server.clone(),
            zone: zone.clone(),
            key_name: key_name.clone(),
            key: Secret(read(key_file, "--acme-dns-key-file")?),
        }),
        Way::Hook(program) => Dns::Hook(executable(program)?),
    };
    Ok(Config {
        directory: acme.directory.clone(),
        contact: acme.contact.clone(),
        signers,
        domain: settings.ingress.domain.to_string(),
        dir,
        dns,
        wait_seconds: acme.wait_seconds,
    })
}

fn read(path: &Path, setting: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("{setting} {} cannot be read", path.display()))
}

fn executable(program: &Path) -> Result<PathBuf> {
    let metadata = fs::metadata(program).with_context(|| format!("--acme-dns-hook {}", program.display()))?;
    let can_run = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    ensure!(can_run, "--acme-dns-hook {} is no program that can be run; see `chmod +x`", program.display());
    Ok(program.to_owned())
}

/// The role of the process, which is there only if something is set of ACME.
pub fn role(layout: &Layout, settings: &Resolved) -> Option<super::child::Role> {
    settings
        .acme
        .as_ref()
        .map(|_| super::child::Role::Acme { orders: layout.acme_orders(), uid: uid(settings) })
}

/// The process: keeps the certificate fresh until it is told to stop.
///
/// # Errors
/// When it cannot read what it is told.
pub async fn run(orders: &Path) -> Result<()> {
    super::logging::init("info");
    let orders: Orders = serde_json::from_slice(&fs::read(orders)?).context("the orders")?;
    super::child::die_with(orders.server)?;
    let keeper = Keeper::new(orders.config)?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        never = keeper.keep() => match never {},
        _ = terminate.recv() => {}
    }
    // An order may have been under way. What cannot be removed now is known to the next one.
    let _ = tokio::time::timeout(CLEAR_BOUND, keeper.clear()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(settings: &Settings) -> Result<Option<Acme>> {
        resolve(settings, &settings.domain.as_deref().unwrap_or("sandbox.localhost").parse().unwrap())
    }

    fn told(settings: &Settings) -> String {
        resolved(settings).unwrap_err().to_string()
    }

    fn by_update() -> Settings {
        Settings {
            domain: Some("sandbox.example.test".into()),
            acme_accept_terms: Some(true),
            acme_dns_rfc2136: Some("ns.example.test:53".into()),
            acme_dns_key_name: Some("acme".into()),
            acme_dns_key_file: Some("/etc/atoll/dns-key".into()),
            ..Settings::default()
        }
    }

    #[test]
    fn nothing_is_asked_of_an_authority_unless_it_is_told_and_its_terms_are_accepted() {
        assert!(resolved(&Settings::default()).unwrap().is_none());
        let whole = resolved(&by_update()).unwrap().unwrap();
        assert_eq!((whole.directory.as_str(), whole.wait_seconds), (DIRECTORY, 0));
        assert!(
            told(&Settings { acme_accept_terms: None, ..by_update() }).contains("--acme-accept-terms true")
        );
        assert!(told(&Settings { domain: None, ..by_update() }).contains("--domain"));
        let hook = Settings { acme_dns_hook: Some("/hook".into()), acme_dns_rfc2136: None, ..by_update() };
        assert!(told(&hook).contains("--acme-dns-key-file"));
        let hook = Settings { acme_dns_key_name: None, acme_dns_key_file: None, ..hook };
        assert_eq!(resolved(&hook).unwrap().unwrap().wait_seconds, HOOK_WAIT_SECONDS);
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_what_does() {
        let both = Settings { acme_dns_hook: Some("/hook".into()), ..by_update() };
        assert!(told(&both).contains("one way"));
        let alone = Settings { acme_contact: Some("a@example.test".into()), ..Settings::default() };
        assert!(told(&alone).contains("--acme-dns-hook"));
        let own = Settings { ingress_certificate: Some("/cert".into()), ..by_update() };
        assert!(told(&own).contains("--ingress-certificate"));
        assert!(told(&Settings { acme_dns_key_file: None, ..by_update() }).contains("--acme-dns-key-file"));
        assert!(
            told(&Settings { acme_dns_rfc2136: Some("ns".into()), ..by_update() }).contains("SERVER:PORT")
        );
        let plain = Settings { acme_directory: Some("http://ca.example.test/".into()), ..by_update() };
        assert!(told(&plain).contains("https"));
        let zone = |zone: &str| Settings { acme_dns_zone: Some(zone.into()), ..by_update() };
        assert!(resolved(&zone("Example.test.")).is_ok());
        assert!(told(&zone("ample.test")).contains("not in the zone"));
    }
}
