//! What an operator allows, and where other than usual things are.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::address::Network;
use super::failure::{Pulled, refused};

/// What a node is told about the places images come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Registries spoken to without TLS.
    pub plain_http: Vec<Host>,
    /// Registries whose certificates are signed by somebody of their own.
    pub authorities: Vec<Authority>,
    /// Where images of a registry are looked for first.
    pub mirrors: Vec<Mirror>,
    /// What may be spoken to although it is not on the internet.
    pub allow_private: Vec<Allowed>,
    /// The directory that images without a registry are in.
    pub image_path: Option<PathBuf>,
    /// AWS's service of registry tokens, where it is not the region's own.
    pub ecr_endpoint: Option<Endpoint>,
    /// Google Cloud's service of tokens.
    pub gcp_token_endpoint: Endpoint,
    /// Azure's service of tokens.
    pub azure_login_endpoint: Endpoint,
    /// One layer as its registry stores it, in bytes, at most.
    pub layer_bytes_max: u64,
    /// All layers of an image as its registry stores them, in bytes, at most.
    pub image_bytes_max: u64,
    /// How long a registry is waited for.
    pub patience: Patience,
}

/// How long a registry is waited for, and how often it is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// A connection, with TLS, has so long.
    pub connect: Duration,
    /// The beginning of an answer has so long.
    pub answer: Duration,
    /// In this time at least [`Patience::window_bytes_min`] of an answer have to come.
    pub window: Duration,
    /// See [`Patience::window`].
    pub window_bytes_min: u64,
    /// Further tries in a row that bring nothing, at most.
    pub retries_max: u32,
    /// The pause before the first of them; each next one is twice as long.
    pub pause: Duration,
    /// The longest pause, also if the registry asks for a longer one.
    pub pause_max: Duration,
}

/// The defaults.
pub mod defaults {
    /// Where Google's service accounts get tokens.
    pub const GCP_TOKEN_ENDPOINT: &str = "https://oauth2.googleapis.com/token";
    /// Where Azure's service principals do.
    pub const AZURE_LOGIN_ENDPOINT: &str = "https://login.microsoftonline.com/";
    /// Bytes of one layer.
    pub const LAYER_BYTES_MAX: u64 = 20 << 30;
    /// Bytes of all layers.
    pub const IMAGE_BYTES_MAX: u64 = 40 << 30;
}

impl Default for Settings {
    fn default() -> Self {
        let known = |text: &str| Endpoint(text.to_owned());
        Self {
            plain_http: vec![],
            authorities: vec![],
            mirrors: vec![],
            allow_private: vec![],
            image_path: None,
            ecr_endpoint: None,
            gcp_token_endpoint: known(defaults::GCP_TOKEN_ENDPOINT),
            azure_login_endpoint: known(defaults::AZURE_LOGIN_ENDPOINT),
            layer_bytes_max: defaults::LAYER_BYTES_MAX,
            image_bytes_max: defaults::IMAGE_BYTES_MAX,
            patience: Patience::default(),
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            answer: Duration::from_secs(60),
            window: Duration::from_secs(60),
            window_bytes_min: 1 << 20,
            retries_max: 5,
            pause: Duration::from_millis(500),
            pause_max: Duration::from_secs(120),
        }
    }
}

impl Patience {
    /// With a mirror: there is another place to ask.
    pub(crate) fn with_mirrors(&self) -> Self {
        Self { retries_max: self.retries_max.min(1), ..self.clone() }
    }
}

impl Settings {
    /// Whether this host is spoken to without TLS.
    pub fn is_plain(&self, host: &str, port: Option<u16>) -> bool {
        self.plain_http.iter().any(|plain| plain.matches(host, port.unwrap_or(80)))
    }

    /// Whether this host may be at this address, which is not on the internet.
    pub fn allows_private(&self, host: &str, port: u16, address: IpAddr) -> bool {
        self.allow_private.iter().any(|allowed| match allowed {
            Allowed::Host(allowed) => allowed.matches(host, port),
            Allowed::Network(network) => network.contains(address),
        })
    }
}

/// A host, and which of its ports; without one, all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Whether it is meant by this.
    pub fn matches(&self, name: &str, port: u16) -> bool {
        self.name.eq_ignore_ascii_case(name) && self.port.is_none_or(|own| own == port)
    }
}

impl FromStr for Host {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a host, such as registry.example:5000");
        let url = Url::parse(&format!("none://{text}")).map_err(|_| wrong())?;
        let is_bare = url.path().is_empty() && url.query().is_none() && url.username().is_empty();
        match url.host_str() {
            Some(name) if is_bare && url.fragment().is_none() && url.password().is_none() => {
                Ok(Self { name: name.to_ascii_lowercase(), port: url.port() })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// `HOST=FILE`: who signs a registry's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Authority {
    /// The registry.
    pub host: Host,
    /// Certificates in PEM; nobody else's signature counts for this registry.
    pub file: PathBuf,
}

impl FromStr for Authority {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (host, file) = text.split_once('=').ok_or("expected HOST=FILE")?;
        Ok(Self { host: host.parse()?, file: file.into() })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.host, self.file.display())
    }
}

/// `HOST=URL`: where a registry's images are looked for first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mirror {
    /// The registry, as references name it.
    pub host: String,
    /// Another registry. What follows its host is put before the repository's name, as a pull-through cache wants it.
    pub url: Endpoint,
}

impl FromStr for Mirror {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (host, url) = text.split_once('=').ok_or("expected HOST=URL")?;
        Ok(Self { host: host.parse::<Host>()?.to_string(), url: url.parse()? })
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.host, self.url)
    }
}

/// What may be spoken to although it is not on the internet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Allowed {
    /// A host, wherever it is.
    Host(Host),
    /// Whatever is in this network.
    Network(Network),
}

impl FromStr for Allowed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') { text.parse().map(Self::Network) } else { text.parse().map(Self::Host) }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => host.fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

/// The address of a service, `http://` or `https://`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(String);

impl Endpoint {
    /// It as a URL.
    pub(crate) fn url(&self) -> Pulled<Url> {
        Url::parse(&self.0).map_err(|error| refused(format!("`{}` is not a URL: {error}", self.0)))
    }

    /// Whether it is this one.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl FromStr for Endpoint {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        match url.scheme() {
            "http" | "https" if is_bare && url.has_host() => Ok(Self(url.into())),
            _ => {
                Err(format!("`{text}` is not the address of a service, such as https://mirror.example/path"))
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Texts in files and orders, as in flags.
macro_rules! as_text {
    ($($kind:ty),*) => {$(
        impl TryFrom<String> for $kind {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
        impl From<$kind> for String {
            fn from(value: $kind) -> Self {
                value.to_string()
            }
        }
    )*};
}

as_text!(Host, Authority, Mirror, Allowed, Endpoint);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_is_meant_on_all_of_them() {
        let host = |text: &str| text.parse::<Host>().unwrap();
        assert!(host("Registry.test").matches("registry.test", 443));
        assert!(host("registry.test:5000").matches("registry.test", 5000));
        assert!(!host("registry.test:5000").matches("registry.test", 443));
        assert!(host("[::1]:5000").matches("[::1]", 5000));
        for wrong in
            ["", "https://registry.test", "me@registry.test", "registry.test/path", "a b", "r.test:99999"]
        {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let check = |text: &str| assert_eq!(text.parse::<Mirror>().unwrap().to_string(), text);
        check("docker.io=https://harbor.test/hub");
        check("docker.io=http://127.0.0.1:5000/");
        assert_eq!("r.test:5000=/ca.pem".parse::<Authority>().unwrap().to_string(), "r.test:5000=/ca.pem");
        assert_eq!("10.0.0.0/8".parse::<Allowed>().unwrap().to_string(), "10.0.0.0/8");
        assert_eq!("r.test".parse::<Allowed>().unwrap().to_string(), "r.test");
        assert!("docker.io=ftp://r.test/".parse::<Mirror>().is_err());
        assert!("docker.io=https://me:secret@r.test/".parse::<Mirror>().is_err());
    }
}
