//! A registry for tests: the distribution API over HTTP or HTTPS, with the faults a test asks for.
//!
//! ```no_run
//! # async fn story() {
//! use testkit::registry::{Image, Layer, Registry};
//! let registry = Registry::start().await;
//! let image = Image::new().layer(Layer::new().file("etc/motd", "hello")).env("GREETING", "hello");
//! let digest = registry.push("me/it:v1", &image);
//! let source = format!("{}/me/it:v1", registry.address());
//! let settings = registry.settings(); // for `Lab::on(…).registries(settings)`
//! # }
//! ```

mod access;
mod authority;
mod fault;
mod image;
mod serve;
mod tar;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifact::oci::Settings;
use artifact::oci::settings::Patience;
use http::{Method, Response};
use serde_json::json;
use wire::image::Digest;

pub use access::Gate;
pub use authority::Authority;
pub(crate) use authority::openssl;
pub use fault::Fault;
pub use image::{Dialect, Image, Layer, Packing, Stored, descriptor, digest_of};

use self::access::Access;
use self::fault::Faults;
use crate::web::{Asked, Body, Web};

/// A registry to be.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    gate: Gate,
    token_lifetime: Option<Duration>,
    authority: Option<Authority>,
    realm: Option<String>,
}

/// A registry. Gone when dropped.
#[derive(Debug)]
pub struct Registry {
    shared: Arc<Shared>,
    authority: Option<Authority>,
    web: Web,
}

type Exchange = Box<dyn Fn(&Asked) -> Response<Body> + Send + Sync>;

/// What the server sees.
struct Shared {
    /// The server's own URL, known once it is there.
    url: Mutex<String>,
    /// Where its tokens are, if they are elsewhere.
    realm: Option<String>,
    access: Access,
    faults: Faults,
    manifests: Mutex<HashMap<String, (String, Vec<u8>)>>,
    blobs: Mutex<HashMap<Digest, Vec<u8>>>,
    requests: Mutex<Vec<Asked>>,
    exchange: Mutex<Option<Exchange>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Builder {
    /// That wants to see something.
    pub fn gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    /// Whose tokens last so long.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = Some(lifetime);
        self
    }

    /// That sends clients elsewhere for its tokens.
    pub fn realm(mut self, realm: &str) -> Self {
        self.realm = Some(realm.to_owned());
        self
    }

    /// That speaks TLS, with a certificate of this authority.
    pub fn tls(mut self, authority: &Authority) -> Self {
        self.authority = Some(authority.clone());
        self
    }

    /// Starts it.
    pub async fn start(self) -> Registry {
        let lifetime = self.token_lifetime.unwrap_or(Duration::from_secs(300));
        let shared = Arc::new(Shared {
            url: Mutex::default(),
            realm: self.realm,
            access: Access::new(self.gate, lifetime),
            faults: Faults::default(),
            manifests: Mutex::default(),
            blobs: Mutex::default(),
            requests: Mutex::default(),
            exchange: Mutex::default(),
        });
        let server = shared.clone();
        let tls = self.authority.as_ref().map(Authority::server_config);
        let web = Web::start(tls, move |asked| {
            let server = server.clone();
            async move { serve::answer_to(&server, asked) }
        })
        .await;
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        *shared.url.lock().unwrap_or_else(PoisonError::into_inner) = format!("{scheme}://{}", web.address());
        Registry { shared, authority: self.authority, web }
    }
}

impl Registry {
    /// One that is open to all, without TLS.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Another one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Its host and port, as references name it.
    pub fn address(&self) -> String {
        self.web.address().to_string()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.shared.url.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a node must be told to speak to it, and impatient enough for tests.
    ///
    /// # Panics
    /// When its address is none.
    pub fn settings(&self) -> Settings {
        let host = || self.address().parse().expect("an address is a host");
        let mut settings = Settings {
            allow_private: vec![self.address().parse().expect("an address is a host")],
            patience: Patience { pause: Duration::from_millis(1), ..Patience::default() },
            ..Settings::default()
        };
        match &self.authority {
            None => settings.plain_http = vec![host()],
            Some(authority) => {
                let text = format!("{}={}", self.address(), authority.certificate().display());
                settings.authorities = vec![text.parse().expect("an authority")];
            }
        }
        settings
    }

    /// Stores an image under `repository:tag`. The digest of its manifest.
    pub fn push(&self, name: &str, image: &Image) -> Digest {
        let stored = image.stored();
        for bytes in stored.blobs.into_values() {
            self.push_blob(bytes);
        }
        self.push_manifest(name, stored.media_type, stored.manifest)
    }

    /// Stores an index of these images under `repository:tag`. Its digest.
    ///
    /// # Panics
    /// When `name` has no tag.
    pub fn push_index(&self, name: &str, images: &[Image]) -> Digest {
        let repository = name.split_once(':').expect("a name has a tag").0;
        let entries: Vec<_> = images
            .iter()
            .map(|image| {
                let digest = self.push(&format!("{repository}:for-index"), image);
                let stored = image.stored();
                let mut entry = descriptor(stored.media_type, &stored.manifest);
                assert_eq!(entry["digest"], digest.as_str());
                entry["platform"] = image.platform();
                entry
            })
            .collect();
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
        self.push_manifest(name, media_type, index.to_string())
    }

    /// Stores any document under `repository:tag`, and by its digest.
    ///
    /// # Panics
    /// When `name` has no tag.
    pub fn push_manifest(&self, name: &str, media_type: &str, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = bytes.into();
        let (repository, tag) = name.split_once(':').expect("a name has a tag");
        let digest = digest_of(&bytes);
        let mut manifests = self.shared.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        for version in [tag, digest.as_str()] {
            let stored = (media_type.to_owned(), bytes.clone());
            manifests.insert(format!("{repository}/manifests/{version}"), stored);
        }
        digest
    }

    /// Stores a blob, for all repositories.
    pub fn push_blob(&self, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = bytes.into();
        let digest = digest_of(&bytes);
        self.shared.blobs.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.clone(), bytes);
        digest
    }

    /// Lets in whoever has this name and password.
    pub fn accept(&self, username: &str, password: &str) {
        self.shared.access.accept(username, password);
    }

    /// Tokens given out so far are good no more.
    pub fn forget_tokens(&self) {
        self.shared.access.forget_tokens();
    }

    /// The next requests, so many, whose path has this part in it, go wrong so.
    pub fn fault(&self, part: &str, times: usize, fault: Fault) {
        self.shared.faults.plan(part, times, fault);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.shared.faults.clear();
    }

    /// Exchanges what a directory gave for what it takes itself, as Azure's does.
    pub fn exchange(&self, exchange: impl Fn(&Asked) -> Response<Body> + Send + Sync + 'static) {
        *self.shared.exchange.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(exchange));
    }

    /// What it was asked so far.
    pub fn requests(&self) -> Vec<Asked> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it was asked for something whose path has this part in it; not only whether it is there.
    pub fn count(&self, part: &str) -> usize {
        let is_for = |asked: &&Asked| asked.method != Method::HEAD && asked.uri.path().contains(part);
        self.requests().iter().filter(is_for).count()
    }
}
