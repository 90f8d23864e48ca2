//! What `atoll serve` can be told: a flag beats the environment, which beats
//! the file, which beats the default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use artifact::oci::settings::{Allowed, Authority, Endpoint, Host, Mirror};
use clap::Args;
use proxy::ingress::host::Domain;
use proxy::ingress::trusted::Network;
use serde::{Deserialize, Serialize};
use wire::node::Capacity;
use wire::public::team::{TeamLimits, defaults};

use super::acme::Acme;
use super::ingress_limits::IngressLimits;

/// The file read when none is named.
const FILE: &str = "/etc/atoll/atoll.toml";
/// The service user's number where none is given: high, fixed, and nobody's on a fresh Debian.
const SERVICE_UID: u32 = 61_707;
/// Memory left to the host, in MiB.
const HOST_MEMORY_MIB: u64 = 1024;
/// Sandboxes promised each CPU of the host, in vCPUs.
const VCPU_PER_CPU: u32 = 32;
/// Where the ingress listens if the API listens on a port that was chosen.
const INGRESS_PORT: u16 = 7443;
/// What the names of sandboxes end with: two labels, for clients take no `*.localhost` from a certificate.
const DOMAIN: &str = "sandbox.localhost";
/// How long events can be read, at least.
const EVENT_RETENTION_HOURS: u32 = 24;
/// Between two removals of images that nobody needs.
const PRUNE_INTERVAL_HOURS: u32 = 24;

/// Every setting, each with its source still open.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where everything is kept [default: /var/lib/atoll].
    #[arg(long, env = "ATOLL_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The address of the API [default: 127.0.0.1:7070].
    #[arg(long, env = "ATOLL_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// The address where ports of sandboxes are reached [default: 127.0.0.1:7443, or any port if `--listen` has any].
    #[arg(long, env = "ATOLL_INGRESS_LISTEN")]
    pub ingress_listen: Option<SocketAddr>,
    /// Whether who speaks no TLS is served there too, such as a load balancer in front of it, and who asks for a tunnel, as
    /// of a proxy [default: true if it listens on a loopback address].
    #[arg(long, env = "ATOLL_INGRESS_PLAIN", value_name = "BOOL")]
    pub ingress_plain: Option<bool>,
    /// The certificate for the domain and what is below it, in PEM, with its chain; read again when it changes [default: one
    /// of an authority that is made at the first start, `tls/ca.pem` in the data directory].
    #[arg(long, env = "ATOLL_INGRESS_CERTIFICATE", value_name = "FILE")]
    pub ingress_certificate: Option<PathBuf>,
    /// The certificate's key, in PEM.
    #[arg(long, env = "ATOLL_INGRESS_KEY", value_name = "FILE")]
    pub ingress_key: Option<PathBuf>,
    /// The directory of the authority that issues the certificate by ACME, where a way to prove whose the domain is is given
    /// [default: Let's Encrypt's, https://acme-v02.api.letsencrypt.org/directory].
    #[arg(long, env = "ATOLL_ACME_DIRECTORY", value_name = "URL")]
    pub acme_directory: Option<String>,
    /// Whether that authority's terms are accepted, without which it issues nothing.
    #[arg(long, env = "ATOLL_ACME_ACCEPT_TERMS", value_name = "BOOL")]
    pub acme_accept_terms: Option<bool>,
    /// The address of e-mail that it may write to.
    #[arg(long, env = "ATOLL_ACME_CONTACT", value_name = "EMAIL")]
    pub acme_contact: Option<String>,
    /// Who signs the directory's own certificate, where this machine does not believe it.
    #[arg(long, env = "ATOLL_ACME_CA", value_name = "FILE")]
    pub acme_ca: Option<PathBuf>,
    /// The DNS server that takes signed updates (RFC 2136), by which it is proven whose the domain is.
    #[arg(long, env = "ATOLL_ACME_DNS_RFC2136", value_name = "SERVER:PORT")]
    pub acme_dns_rfc2136: Option<String>,
    /// The zone that is updated [default: the one that is named as the domain].
    #[arg(long, env = "ATOLL_ACME_DNS_ZONE", value_name = "NAME")]
    pub acme_dns_zone: Option<String>,
    /// The name of the key that updates are signed with (TSIG), as the DNS server knows it.
    #[arg(long, env = "ATOLL_ACME_DNS_KEY_NAME", value_name = "NAME")]
    pub acme_dns_key_name: Option<String>,
    /// A file with that key, in base64, for HMAC-SHA256.
    #[arg(long, env = "ATOLL_ACME_DNS_KEY_FILE", value_name = "FILE")]
    pub acme_dns_key_file: Option<PathBuf>,
    /// A program that is called instead, as `PROGRAM present NAME VALUE` to add a TXT record beside others of its name, and
    /// as `PROGRAM cleanup NAME VALUE` to remove that one; it is to end with 0 within 120 s. It runs as the user two after
    /// `--service-uid`.
    #[arg(long, env = "ATOLL_ACME_DNS_HOOK", value_name = "PROGRAM")]
    pub acme_dns_hook: Option<PathBuf>,
    /// Seconds until everybody sees a record that is there [default: 30 with a hook, or else 0].
    #[arg(long, env = "ATOLL_ACME_DNS_WAIT_SECONDS")]
    pub acme_dns_wait_seconds: Option<u32>,
    /// What the names of sandboxes end with: `<sandbox>-<port>.<domain>` [default: sandbox.localhost].
    #[arg(long, env = "ATOLL_DOMAIN")]
    pub domain: Option<String>,
    /// The port in the URLs that are given out for them, where clients reach it through something else, such as a load
    /// balancer [default: the one it listens on].
    #[arg(long, env = "ATOLL_INGRESS_URL_PORT")]
    pub ingress_url_port: Option<u16>,
    /// Connections of clients at once; more wait to be accepted [default: 4096].
    #[arg(long, env = "ATOLL_INGRESS_CONNECTIONS_MAX")]
    pub ingress_connections_max: Option<u32>,
    /// Connections of one client's address at once; more are refused. Behind a load balancer, all clients have its address
    /// [default: 1024].
    #[arg(long, env = "ATOLL_INGRESS_ADDRESS_CONNECTIONS_MAX")]
    pub ingress_address_connections_max: Option<u32>,
    /// Requests under way to one sandbox, WebSockets too; more are refused [default: 512].
    #[arg(long, env = "ATOLL_INGRESS_SANDBOX_REQUESTS_MAX")]
    pub ingress_sandbox_requests_max: Option<u32>,
    /// Requests under way with one key, to all sandboxes together; more are refused [default: 2048].
    #[arg(long, env = "ATOLL_INGRESS_KEY_REQUESTS_MAX")]
    pub ingress_key_requests_max: Option<u32>,
    /// Headers of a request to a sandbox [default: 100].
    #[arg(long, env = "ATOLL_INGRESS_HEADERS_MAX")]
    pub ingress_headers_max: Option<u32>,
    /// The head of a request to a sandbox, in bytes; 8192 at least [default: 65536].
    #[arg(long, env = "ATOLL_INGRESS_HEAD_BYTES_MAX")]
    pub ingress_head_bytes_max: Option<u32>,
    /// Seconds that a client may take over a request's head, or leave a connection without one [default: 30].
    #[arg(long, env = "ATOLL_INGRESS_HEAD_WAIT_SECONDS")]
    pub ingress_head_wait_seconds: Option<u32>,
    /// Seconds that a client may be silent in the middle of a body [default: 60].
    #[arg(long, env = "ATOLL_INGRESS_BODY_IDLE_SECONDS")]
    pub ingress_body_idle_seconds: Option<u32>,
    /// What has to come of a body, in bytes a second, once the client was waited for longer than
    /// `--ingress-body-idle-seconds` in all [default: 100].
    #[arg(long, env = "ATOLL_INGRESS_BODY_BYTES_PER_SECOND_MIN")]
    pub ingress_body_bytes_per_second_min: Option<u32>,
    /// The body of a request to a sandbox, in bytes; 0: as large as its app takes it [default: 0].
    #[arg(long, env = "ATOLL_INGRESS_BODY_BYTES_MAX")]
    pub ingress_body_bytes_max: Option<u64>,
    /// Seconds that an app in a sandbox may take to begin its answer [default: 1800].
    #[arg(long, env = "ATOLL_INGRESS_ANSWER_WAIT_SECONDS")]
    pub ingress_answer_wait_seconds: Option<u32>,
    /// Networks of load balancers in front of the ingress, such as 10.0.0.0/8: they say by `X-Forwarded-For` and
    /// `X-Forwarded-Proto` for whom they ask, and have as many connections as they like.
    #[arg(long, env = "ATOLL_INGRESS_TRUSTED_PROXIES", value_name = "CIDR", value_delimiter = ',')]
    pub ingress_trusted_proxies: Option<Vec<String>>,
    /// What runs sandboxes: `gvisor`, or `fake`, which isolates nothing [default: gvisor].
    #[arg(long, env = "ATOLL_ENGINE")]
    pub engine: Option<EngineKind>,
    /// The `runsc` program [default: the one on PATH].
    #[arg(long, env = "ATOLL_RUNSC")]
    pub runsc: Option<PathBuf>,
    /// The number of the user that control runs as; the ingress runs as the next one, and what has certificates issued as
    /// the one after that [default: 61707].
    #[arg(long, env = "ATOLL_SERVICE_UID")]
    pub service_uid: Option<u32>,
    /// Whether the default template is built at the first start [default: true, but false on `fake`].
    #[arg(long, env = "ATOLL_SYSTEM_TEMPLATES", value_name = "BOOL")]
    pub system_templates: Option<bool>,
    /// Keeps the timers of sandboxes precise also while nobody talks to them, which costs each some percent
    /// of a CPU; else they may be 50 ms late [default: false].
    #[arg(long, env = "ATOLL_PRECISE_TIMERS", value_name = "BOOL")]
    pub precise_timers: Option<bool>,
    /// Sandboxes at once, at most [default: 1000].
    #[arg(long, env = "ATOLL_SANDBOXES_MAX")]
    pub sandboxes_max: Option<u32>,
    /// vCPUs promised to all sandboxes, at most [default: 32 for each CPU of the host].
    #[arg(long, env = "ATOLL_VCPU_MAX")]
    pub vcpu_max: Option<u32>,
    /// Memory promised to all sandboxes in MiB, at most [default: the host's less 1 GiB].
    #[arg(long, env = "ATOLL_MEMORY_MIB_MAX")]
    pub memory_mib_max: Option<u64>,
    /// Room on the disk of the data directory below which no sandbox is made, in MiB; the rest is for what those that
    /// run still write, and for what ends them [default: 1024, but a tenth of the disk at most].
    #[arg(long, env = "ATOLL_DISK_RESERVE_MIB")]
    pub disk_reserve_mib: Option<u64>,
    /// Sandboxes of one team at once, where nothing else was set for it [default: 1000].
    #[arg(long, env = "ATOLL_TEAM_SANDBOXES_MAX")]
    pub team_sandboxes_max: Option<u32>,
    /// vCPUs of one team's sandboxes, where nothing else was set for it [default: 8000].
    #[arg(long, env = "ATOLL_TEAM_VCPU_MAX")]
    pub team_vcpu_max: Option<u32>,
    /// Memory of one team's sandboxes in MiB, where nothing else was set for it [default: 8192000].
    #[arg(long, env = "ATOLL_TEAM_MEMORY_MIB_MAX")]
    pub team_memory_mib_max: Option<u64>,
    /// API keys of one team, where nothing else was set for it [default: 100].
    #[arg(long, env = "ATOLL_TEAM_KEYS_MAX")]
    pub team_keys_max: Option<u32>,
    /// Templates of one team, where nothing else was set for it [default: 25].
    #[arg(long, env = "ATOLL_TEAM_TEMPLATES_MAX")]
    pub team_templates_max: Option<u32>,
    /// Requests of one team a second, where nothing else was set for it [default: 1000].
    #[arg(long, env = "ATOLL_TEAM_REQUESTS_PER_SECOND")]
    pub team_requests_per_second: Option<u32>,
    /// Requests of one team at once after a pause, where nothing else was set for it [default: 2000].
    #[arg(long, env = "ATOLL_TEAM_REQUESTS_BURST")]
    pub team_requests_burst: Option<u32>,
    /// Hours for which events of sandboxes can be read after these are gone [default: 24].
    #[arg(long, env = "ATOLL_EVENT_RETENTION_HOURS")]
    pub event_retention_hours: Option<u32>,
    /// A file with the keys that registries' credentials and snapshots are encrypted with: an id and 64 hexadecimal digits
    /// a line. The first encrypts, all decrypt; at the start everything that needs it is encrypted anew with the first
    /// [default: one that is made].
    #[arg(long, env = "ATOLL_SECRETS_KEY_FILE")]
    pub secrets_key_file: Option<PathBuf>,
    /// Where snapshots are kept, instead of the data directory: a bucket of an S3-compatible store, and what names in it
    /// begin with.
    #[arg(long, env = "ATOLL_SNAPSHOT_BUCKET", value_name = "BUCKET[/PREFIX]")]
    pub snapshot_bucket: Option<String>,
    /// The address of that store, such as https://s3.eu-central-1.amazonaws.com.
    #[arg(long, env = "ATOLL_SNAPSHOT_ENDPOINT", value_name = "URL")]
    pub snapshot_endpoint: Option<String>,
    /// The region that requests to it are signed for [default: us-east-1].
    #[arg(long, env = "ATOLL_SNAPSHOT_REGION")]
    pub snapshot_region: Option<String>,
    /// Whether the bucket is named in the path, as most stores besides AWS's want it, and not in the host's name
    /// [default: true].
    #[arg(long, env = "ATOLL_SNAPSHOT_PATH_STYLE", value_name = "BOOL")]
    pub snapshot_path_style: Option<bool>,
    /// A file in the format of ~/.aws/credentials, of which the first profile counts.
    #[arg(long, env = "ATOLL_SNAPSHOT_CREDENTIALS_FILE", value_name = "FILE")]
    pub snapshot_credentials_file: Option<PathBuf>,
    /// Who signs that store's certificate, where this machine does not believe it.
    #[arg(long, env = "ATOLL_SNAPSHOT_CA", value_name = "FILE")]
    pub snapshot_ca: Option<PathBuf>,
    /// Hours between two removals of images that nobody needs; 0: only `atoll template prune` removes them [default: 24].
    #[arg(long, env = "ATOLL_PRUNE_INTERVAL_HOURS")]
    pub prune_interval_hours: Option<u32>,
    /// Registries spoken to without TLS.
    #[arg(long, env = "ATOLL_REGISTRY_PLAIN_HTTP", value_name = "HOST", value_delimiter = ',')]
    pub registry_plain_http: Option<Vec<Host>>,
    /// Who signs a registry's certificate: nobody else's signature counts for it.
    #[arg(long, env = "ATOLL_REGISTRY_CA", value_name = "HOST=FILE", value_delimiter = ',')]
    pub registry_ca: Option<Vec<Authority>>,
    /// Where a registry's images are looked for first, in this order. What follows the URL's host is put before the
    /// repository's name, as pull-through caches want it.
    #[arg(long, env = "ATOLL_REGISTRY_MIRROR", value_name = "HOST=URL", value_delimiter = ',')]
    pub registry_mirror: Option<Vec<Mirror>>,
    /// Registries, or networks, that users may name although they are not on the internet.
    #[arg(long, env = "ATOLL_REGISTRY_ALLOW_PRIVATE", value_name = "HOST|CIDR", value_delimiter = ',')]
    pub registry_allow_private: Option<Vec<Allowed>>,
    /// The directory below which `oci:` and `docker-archive:` images may be.
    #[arg(long, env = "ATOLL_IMAGE_PATH", value_name = "DIR")]
    pub image_path: Option<PathBuf>,
    /// AWS's service of registry tokens, where it is not the region's own.
    #[arg(long, env = "ATOLL_ECR_ENDPOINT", value_name = "URL")]
    pub ecr_endpoint: Option<Endpoint>,
    /// Google Cloud's service of tokens [default: https://oauth2.googleapis.com/token].
    #[arg(long, env = "ATOLL_GCP_TOKEN_ENDPOINT", value_name = "URL")]
    pub gcp_token_endpoint: Option<Endpoint>,
    /// Azure's service of tokens [default: https://login.microsoftonline.com/].
    #[arg(long, env = "ATOLL_AZURE_LOGIN_ENDPOINT", value_name = "URL")]
    pub azure_login_endpoint: Option<Endpoint>,
    /// One layer of an image as its registry stores it, in MiB, at most [default: 20480].
    #[arg(long, env = "ATOLL_LAYER_MIB_MAX")]
    pub layer_mib_max: Option<u64>,
    /// All layers of an image as its registry stores them, in MiB, at most [default: 40960].
    #[arg(long, env = "ATOLL_IMAGE_MIB_MAX")]
    pub image_mib_max: Option<u64>,
}

/// What runs sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// gVisor.
    Gvisor,
    /// The agent without any isolation, for tests.
    Fake,
}

/// How what runs inside is reached.
#[derive(Debug, Clone)]
pub struct Ingress {
    /// Where.
    pub listen: SocketAddr,
    /// Whether without TLS too.
    pub plain: bool,
    /// The operator's certificate and its key; `None`: one of our own.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// What the names of sandboxes end with.
    pub domain: Domain,
    /// The port in the URLs that are given out; `None`: the one it listens on.
    pub url_port: Option<u16>,
    /// Networks of those who may say for whom they ask.
    pub trusted: Vec<Network>,
    /// How much and how long.
    pub limits: IngressLimits,
}

/// Every setting, decided.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The address of the API.
    pub listen: SocketAddr,
    /// How what runs inside is reached.
    pub ingress: Ingress,
    /// Who issues the ingress's certificate; `None`: nobody is asked.
    pub acme: Option<Acme>,
    /// What runs sandboxes.
    pub engine: EngineKind,
    /// The `runsc` program.
    pub runsc: PathBuf,
    /// Who control runs as.
    pub service_uid: u32,
    /// Whether the default template is built at the first start.
    pub system_templates: bool,
    /// Whether sandboxes never doze.
    pub precise_timers: bool,
    /// What the node can hold.
    pub capacity: Capacity,
    /// Room on the disk of the data directory below which no sandbox is made; `None`: as the disk's size says.
    pub disk_reserve_mib: Option<u64>,
    /// What a team may have and how fast it may ask, where nothing else was set for it.
    pub team: TeamLimits,
    /// Hours for which events of sandboxes can be read after these are gone.
    pub event_retention_hours: u32,
    /// The operator's file with the keys that registries' credentials are encrypted with.
    pub secrets_key_file: Option<PathBuf>,
    /// The bucket of snapshots; `None`: they are in the data directory.
    pub snapshot_bucket: Option<artifact::snapshot::BucketSettings>,
    /// Hours between two removals of images that nobody needs; 0: never.
    pub prune_interval_hours: u32,
    /// Where images come from.
    pub registries: artifact::oci::Settings,
}

impl Settings {
    /// Decides every setting; `self` is what flags and environment say.
    ///
    /// # Errors
    /// When the file cannot be read or says something unknown, or a value makes no sense.
    pub fn resolve(self, file: Option<&Path>) -> Result<Resolved> {
        let settings = self.or(read(file)?);
        let host = HostSize::read();
        let capacity = Capacity {
            sandboxes: settings.sandboxes_max.unwrap_or(1000),
            vcpu: settings.vcpu_max.unwrap_or(host.cpus * VCPU_PER_CPU),
            memory_mib: settings.memory_mib_max.unwrap_or(host.memory_mib.saturating_sub(HOST_MEMORY_MIB)),
        };
        let team = TeamLimits {
            sandboxes: settings.team_sandboxes_max.unwrap_or(defaults::LIMITS.sandboxes),
            vcpu: settings.team_vcpu_max.unwrap_or(defaults::LIMITS.vcpu),
            memory_mib: settings.team_memory_mib_max.unwrap_or(defaults::LIMITS.memory_mib),
            keys: settings.team_keys_max.unwrap_or(defaults::LIMITS.keys),
            templates: settings.team_templates_max.unwrap_or(defaults::LIMITS.templates),
            requests_per_second: settings
                .team_requests_per_second
                .unwrap_or(defaults::LIMITS.requests_per_second),
            requests_burst: settings.team_requests_burst.unwrap_or(defaults::LIMITS.requests_burst),
        };
        let registries = super::registries::resolve(&settings)?;
        let listen = settings.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7070)));
        let ingress = ingress(&settings, listen)?;
        let acme = super::acme::resolve(&settings, &ingress.domain)?;
        let snapshot_bucket = super::snapshots::bucket(&settings)?;
        let data_dir = settings.data_dir.unwrap_or_else(|| "/var/lib/atoll".into());
        let engine = settings.engine.unwrap_or(EngineKind::Gvisor);
        Ok(Resolved {
            data_dir: std::path::absolute(&data_dir).context("the data directory")?,
            listen,
            ingress,
            acme,
            engine,
            precise_timers: settings.precise_timers.unwrap_or(false),
            system_templates: settings.system_templates.unwrap_or(engine != EngineKind::Fake),
            runsc: settings.runsc.unwrap_or_else(|| "runsc".into()),
            service_uid: settings.service_uid.unwrap_or(SERVICE_UID),
            capacity,
            disk_reserve_mib: settings.disk_reserve_mib,
            team,
            event_retention_hours: settings.event_retention_hours.unwrap_or(EVENT_RETENTION_HOURS),
            secrets_key_file: settings.secrets_key_file,
            snapshot_bucket,
            prune_interval_hours: settings.prune_interval_hours.unwrap_or(PRUNE_INTERVAL_HOURS),
            registries,
        })
    }

    fn or(self, other: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(other.data_dir),
            listen: self.listen.or(other.listen),
            ingress_listen: self.ingress_listen.or(other.ingress_listen),
            ingress_plain: self.ingress_plain.or(other.ingress_plain),
            ingress_certificate: self.ingress_certificate.or(other.ingress_certificate),
            ingress_key: self.ingress_key.or(other.ingress_key),
            acme_directory: self.acme_directory.or(other.acme_directory),
            acme_accept_terms: self.acme_accept_terms.or(other.acme_accept_terms),
            acme_contact: self.acme_contact.or(other.acme_contact),
            acme_ca: self.acme_ca.or(other.acme_ca),
            acme_dns_rfc2136: self.acme_dns_rfc2136.or(other.acme_dns_rfc2136),
            acme_dns_zone: self.acme_dns_zone.or(other.acme_dns_zone),
            acme_dns_key_name: self.acme_dns_key_name.or(other.acme_dns_key_name),
            acme_dns_key_file: self.acme_dns_key_file.or(other.acme_dns_key_file),
            acme_dns_hook: self.acme_dns_hook.or(other.acme_dns_hook),
            acme_dns_wait_seconds: self.acme_dns_wait_seconds.or(other.acme_dns_wait_seconds),
            domain: self.domain.or(other.domain),
            ingress_url_port: self.ingress_url_port.or(other.ingress_url_port),
            ingress_trusted_proxies: self.ingress_trusted_proxies.or(other.ingress_trusted_proxies),
            ingress_connections_max: self.ingress_connections_max.or(other.ingress_connections_max),
            ingress_address_connections_max: self
                .ingress_address_connections_max
                .or(other.ingress_address_connections_max),
            ingress_sandbox_requests_max: self
                .ingress_sandbox_requests_max
                .or(other.ingress_sandbox_requests_max),
            ingress_key_requests_max: self.ingress_key_requests_max.or(other.ingress_key_requests_max),
            ingress_headers_max: self.ingress_headers_max.or(other.ingress_headers_max),
            ingress_head_bytes_max: self.ingress_head_bytes_max.or(other.ingress_head_bytes_max),
            ingress_head_wait_seconds: self.ingress_head_wait_seconds.or(other.ingress_head_wait_seconds),
            ingress_body_idle_seconds: self.ingress_body_idle_seconds.or(other.ingress_body_idle_seconds),
            ingress_body_bytes_per_second_min: self
                .ingress_body_bytes_per_second_min
                .or(other.ingress_body_bytes_per_second_min),
            ingress_body_bytes_max: self.ingress_body_bytes_max.or(other.ingress_body_bytes_max),
            ingress_answer_wait_seconds: self
                .ingress_answer_wait_seconds
                .or(other.ingress_answer_wait_seconds),
            engine: self.engine.or(other.engine),
            runsc: self.runsc.or(other.runsc),
            service_uid: self.service_uid.or(other.service_uid),
            precise_timers: self.precise_timers.or(other.precise_timers),
            system_templates: self.system_templates.or(other.system_templates),
            sandboxes_max: self.sandboxes_max.or(other.sandboxes_max),
            vcpu_max: self.vcpu_max.or(other.vcpu_max),
            memory_mib_max: self.memory_mib_max.or(other.memory_mib_max),
            disk_reserve_mib: self.disk_reserve_mib.or(other.disk_reserve_mib),
            team_sandboxes_max: self.team_sandboxes_max.or(other.team_sandboxes_max),
            team_vcpu_max: self.team_vcpu_max.or(other.team_vcpu_max),
            team_memory_mib_max: self.team_memory_mib_max.or(other.team_memory_mib_max),
            team_keys_max: self.team_keys_max.or(other.team_keys_max),
            team_templates_max: self.team_templates_max.or(other.team_templates_max),
            team_requests_per_second: self.team_requests_per_second.or(other.team_requests_per_second),
            team_requests_burst: self.team_requests_burst.or(other.team_requests_burst),
            event_retention_hours: self.event_retention_hours.or(other.event_retention_hours),
            secrets_key_file: self.secrets_key_file.or(other.secrets_key_file),
            snapshot_bucket: self.snapshot_bucket.or(other.snapshot_bucket),
            snapshot_endpoint: self.snapshot_endpoint.or(other.snapshot_endpoint),
            snapshot_region: self.snapshot_region.or(other.snapshot_region),
            snapshot_path_style: self.snapshot_path_style.or(other.snapshot_path_style),
            snapshot_credentials_file: self.snapshot_credentials_file.or(other.snapshot_credentials_file),
            snapshot_ca: self.snapshot_ca.or(other.snapshot_ca),
            prune_interval_hours: self.prune_interval_hours.or(other.prune_interval_hours),
            registry_plain_http: self.registry_plain_http.or(other.registry_plain_http),
            registry_ca: self.registry_ca.or(other.registry_ca),
            registry_mirror: self.registry_mirror.or(other.registry_mirror),
            registry_allow_private: self.registry_allow_private.or(other.registry_allow_private),
            image_path: self.image_path.or(other.image_path),
            ecr_endpoint: self.ecr_endpoint.or(other.ecr_endpoint),
            gcp_token_endpoint: self.gcp_token_endpoint.or(other.gcp_token_endpoint),
            azure_login_endpoint: self.azure_login_endpoint.or(other.azure_login_endpoint),
            layer_mib_max: self.layer_mib_max.or(other.layer_mib_max),
            image_mib_max: self.image_mib_max.or(other.image_mib_max),
        }
    }
}

fn ingress(settings: &Settings, api: SocketAddr) -> Result<Ingress> {
    // Whoever lets the system choose a port runs several servers on one host.
    let port = if api.port() == 0 { 0 } else { INGRESS_PORT };
    let listen = settings.ingress_listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)));
    let certificate = match (settings.ingress_certificate.clone(), settings.ingress_key.clone()) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => bail!("a certificate and its key go together: give both ingress_certificate and ingress_key"),
    };
    Ok(Ingress {
        listen,
        plain: settings.ingress_plain.unwrap_or(listen.ip().is_loopback()),
        certificate,
        domain: settings.domain.as_deref().unwrap_or(DOMAIN).parse().context("the setting domain")?,
        url_port: settings.ingress_url_port,
        trusted: networks(settings)?,
        limits: IngressLimits::resolve(settings),
    })
}

fn networks(settings: &Settings) -> Result<Vec<Network>> {
    let named = settings.ingress_trusted_proxies.iter().flatten();
    named.map(|network| network.parse().context("the setting ingress_trusted_proxies")).collect()
}

fn read(file: Option<&Path>) -> Result<Settings> {
    let path = file.unwrap_or(Path::new(FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => String::new(),
        Err(error) => bail!("the configuration file {}: {error}", path.display()),
    };
    toml::from_str(&text).with_context(|| format!("the configuration file {}", path.display()))
}

struct HostSize {
    cpus: u32,
    memory_mib: u64,
}

impl HostSize {
    fn read() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
        let total = rustix::system::sysinfo();
        let memory_mib = total.totalram * u64::from(total.mem_unit) / (1024 * 1024);
        Self { cpus, memory_mib }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let file = file("sandboxes_max = 5\nvcpu_max = 7\n");
        let flags = Settings { sandboxes_max: Some(3), ..Settings::default() };
        let resolved = flags.resolve(Some(file.path())).unwrap();
        assert_eq!((resolved.capacity.sandboxes, resolved.capacity.vcpu), (3, 7));
        assert_eq!(resolved.listen.port(), 7070);
    }

    #[test]
    fn the_ingress_serves_plain_text_on_loopback_alone_unless_told() {
        let resolved = |settings: Settings| settings.resolve(Some(file("").path())).unwrap().ingress;
        let default = resolved(Settings::default());
        assert_eq!((default.listen.to_string().as_str(), default.plain), ("127.0.0.1:7443", true));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(resolved(Settings { listen: Some(any), ..Settings::default() }).listen, any);
        let open = Settings { ingress_listen: Some(SocketAddr::from(([0; 4], 443))), ..Settings::default() };
        assert!(!resolved(open.clone()).plain);
        assert!(resolved(Settings { ingress_plain: Some(true), ..open }).plain);
        let alone = Settings { ingress_key: Some("/key".into()), ..Settings::default() };
        assert!(
            alone.resolve(Some(file("").path())).unwrap_err().to_string().contains("ingress_certificate")
        );
    }

    #[test]
    fn what_a_team_may_have_can_be_set() {
        let file = file("team_sandboxes_max = 5\nteam_requests_per_second = 7\n");
        let flags = Settings { team_sandboxes_max: Some(3), ..Settings::default() };
        let team = flags.resolve(Some(file.path())).unwrap().team;
        assert_eq!((team.sandboxes, team.requests_per_second), (3, 7));
        assert_eq!(team.requests_burst, defaults::LIMITS.requests_burst);
    }

    #[test]
    fn an_unknown_setting_is_named() {
        let file = file("sandbox_max = 5\n");
        let error = format!("{:#}", Settings::default().resolve(Some(file.path())).unwrap_err());
        assert!(error.contains("sandbox_max"), "{error}");
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = Settings::default().resolve(Some(Path::new("/nonexistent.toml"))).unwrap_err();
        assert!(error.to_string().contains("/nonexistent.toml"), "{error}");
    }
}
