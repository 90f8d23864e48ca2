//! One repository of one registry: what it has of an image.
//!
//! Mirrors that the operator names are asked first, in order, with no credentials: those are for the registry they were
//! given for.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};
use url::Url;
use wire::image::{Digest, Reference, RegistryCredentials};

use super::Settings;
use super::auth::{Auth, Keyed, Visitor};
use super::failure::{Pulled, Trouble, invalid, not_found, refused, unauthorized};
use super::http::{Answer, Ask, Body, Http, Retries, pause_asked, read_bounded};
use super::manifest::{ACCEPT, MANIFEST_BYTES_MAX};
use super::settings::Patience;

/// Docker's registry, as references name it, and where it is.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// All registries, as one node speaks to them.
#[derive(Clone)]
pub(crate) struct Registries(Arc<Shared>);

struct Shared {
    http: Http,
    auth: Auth,
}

impl Registries {
    /// # Errors
    /// When the settings cannot be used; in words for the operator.
    pub(crate) fn new(settings: Arc<Settings>) -> Result<Self, String> {
        let http = Http::new(settings)?;
        Ok(Self(Arc::new(Shared { auth: Auth::new(http.clone()), http })))
    }

    pub(crate) fn settings(&self) -> &Settings {
        self.0.http.settings()
    }

    /// The repository of a reference, as whoever has these credentials sees it.
    pub(crate) fn repository(
        &self,
        reference: &Reference,
        credentials: Option<RegistryCredentials>,
    ) -> Pulled<Repository> {
        let settings = self.settings();
        let mirrors = settings.mirrors.iter().filter(|mirror| mirror.host == reference.registry);
        let mirrors = mirrors.map(|mirror| mirror_place(&mirror.url.url()?, reference));
        let upstream = Place {
            base: base_url(settings, &reference.registry)?,
            visitor: Visitor {
                registry: reference.registry.clone(),
                repository: reference.repository.clone(),
                credentials: credentials.map(|credentials| Arc::new(Keyed::new(credentials))),
                is_operators: false,
            },
        };
        Ok(Repository { shared: self.0.clone(), mirrors: mirrors.collect::<Pulled<_>>()?, upstream })
    }
}

/// Where a registry is.
pub(crate) fn base_url(settings: &Settings, registry: &str) -> Pulled<Url> {
    let place = if registry == DOCKER.0 { DOCKER.1 } else { registry };
    let wrong = || refused(format!("`{registry}` is not a registry's host name"));
    let url = Url::parse(&format!("https://{place}/")).map_err(|_| wrong())?;
    let host = url.host_str().ok_or_else(wrong)?;
    if settings.is_plain(host, url.port()) {
        return Url::parse(&format!("http://{place}/")).map_err(|_| wrong());
    }
    Ok(url)
}

/// A registry that has copies. What follows its host belongs to the repository's name there.
fn mirror_place(url: &Url, reference: &Reference) -> Pulled<Place> {
    let prefix = url.path().trim_matches('/');
    let prefix = prefix.strip_prefix("v2").map_or(prefix, |rest| rest.trim_start_matches('/'));
    let repository = if prefix.is_empty() {
        reference.repository.clone()
    } else {
        format!("{prefix}/{}", reference.repository)
    };
    let base = url.join("/").map_err(|error| refused(format!("the mirror {url}: {error}")))?;
    let registry = base.authority().to_owned();
    Ok(Place { base, visitor: Visitor { registry, repository, credentials: None, is_operators: true } })
}

/// A registry that may have the image.
#[derive(Clone)]
pub(crate) struct Place {
    base: Url,
    visitor: Visitor,
}

impl Place {
    /// It, to people.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.visitor.registry, self.visitor.repository)
    }

    fn url(&self, rest: &str) -> Pulled<Url> {
        let path = format!("/v2/{}/{rest}", self.visitor.repository);
        self.base.join(&path).map_err(|error| refused(format!("{}: {error}", self.name())))
    }
}

/// A repository, wherever it can be read.
#[derive(Clone)]
pub(crate) struct Repository {
    shared: Arc<Shared>,
    mirrors: Arc<[Place]>,
    upstream: Place,
}

/// A document, and what its registry says it is.
pub(crate) struct Fetched {
    pub bytes: Bytes,
    pub digest: Digest,
    pub content_type: Option<String>,
}

/// Bytes of a blob that are coming.
pub(crate) struct Coming {
    pub body: Body,
    /// Where in the blob they begin.
    pub from: u64,
}

impl Repository {
    pub(crate) fn settings(&self) -> &Settings {
        self.shared.http.settings()
    }

    /// The registry it is in, as references name it.
    pub(crate) fn registry(&self) -> &str {
        &self.upstream.visitor.registry
    }

    /// Where it is looked for first.
    pub(crate) fn mirrors(&self) -> &[Place] {
        &self.mirrors
    }

    /// Where it is.
    pub(crate) fn upstream(&self) -> &Place {
        &self.upstream
    }

    /// The manifest or index of this tag or digest.
    pub(crate) async fn manifest(&self, version: &str) -> Pulled<Fetched> {
        self.anywhere(|place| self.manifest_at(place, version).boxed()).await
    }

    async fn manifest_at(&self, place: &Place, version: &str) -> Result<Fetched, Trouble> {
        let mut ask = Ask::get(place.url(&format!("manifests/{version}"))?);
        ask.headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
        let name = format!("{}:{version}", place.name());
        let mut answer = self.ask(place, ask, &name).await?;
        let bytes = read_bounded("a manifest", &mut answer.body, MANIFEST_BYTES_MAX).await?;
        let digest = digest_of(&bytes);
        if version.parse::<Digest>().is_ok_and(|wanted| wanted != digest) {
            return Err(invalid(format!("{} sent something else than {version}", place.name())).into());
        }
        let content_type = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(Fetched { bytes, digest, content_type: content_type.map(str::to_owned) })
    }

    /// All of a small blob.
    pub(crate) async fn small_blob(&self, what: &str, digest: &Digest, bytes_max: usize) -> Pulled<Bytes> {
        self.anywhere(|place| self.small_blob_at(place, what, digest, bytes_max).boxed()).await
    }

    async fn small_blob_at(
        &self,
        place: &Place,
        what: &str,
        digest: &Digest,
        bytes_max: usize,
    ) -> Result<Bytes, Trouble> {
        let mut coming = self.blob(place, digest, 0).await?;
        let bytes = read_bounded(what, &mut coming.body, bytes_max).await?;
        match digest_of(&bytes) == *digest {
            true => Ok(bytes),
            false => Err(invalid(format!("{} sent something else than {digest}", place.name())).into()),
        }
    }

    /// A blob from this byte on, or from its beginning where the registry sends only all of it.
    pub(crate) async fn blob(&self, place: &Place, digest: &Digest, from: u64) -> Result<Coming, Trouble> {
        let mut ask = Ask::get(place.url(&format!("blobs/{digest}"))?);
        if from > 0 {
            let range = HeaderValue::from_str(&format!("bytes={from}-"));
            ask.headers.extend(range.ok().map(|range| (header::RANGE, range)));
        }
        let answer = self.ask(place, ask, &format!("{} {digest}", place.name())).await?;
        let from = match answer.status {
            StatusCode::PARTIAL_CONTENT => from_of(&answer).filter(|at| *at == from),
            _ => Some(0),
        };
        let wrong = || invalid(format!("{} sent another part of {digest} than was asked for", place.name()));
        Ok(Coming { body: answer.body, from: from.ok_or_else(wrong)? })
    }

    /// Makes sure that whoever has our credentials can get this blob here, without getting it.
    pub(crate) async fn grants(&self, digest: &Digest) -> Pulled<()> {
        self.anywhere(|place| self.grants_at(place, digest).boxed()).await
    }

    async fn grants_at(&self, place: &Place, digest: &Digest) -> Result<(), Trouble> {
        let ask = Ask::head(place.url(&format!("blobs/{digest}"))?);
        self.ask(place, ask, &format!("{} {digest}", place.name())).await.map(drop)
    }

    /// Whatever works, at the first place where it does.
    async fn anywhere<'a, T>(
        &'a self,
        attempt: impl Fn(&'a Place) -> BoxFuture<'a, Result<T, Trouble>>,
    ) -> Pulled<T> {
        let patience = &self.settings().patience;
        for mirror in self.mirrors.iter() {
            match persist(patience.with_mirrors(), || attempt(mirror)).await {
                Ok(value) => return Ok(value),
                Err(failure) => passed_over(mirror, &failure.message),
            }
        }
        persist(patience.clone(), || attempt(&self.upstream)).await
    }

    /// What a place answers, once it has seen what it wants to see.
    async fn ask(&self, place: &Place, mut ask: Ask, what: &str) -> Result<Answer, Trouble> {
        ask.is_operators = place.visitor.is_operators;
        ask.authorization = self.shared.auth.known(&place.visitor);
        let shown = ask.authorization.clone();
        let answer = self.shared.http.send(ask.clone()).await?;
        // What another host wants to see, to which we were sent, is not for it to ask.
        if answer.status != StatusCode::UNAUTHORIZED || !answer.is_direct {
            return expect_content(place, what, answer);
        }
        let shown = self.shared.auth.answer(&place.visitor, &answer.headers, shown.as_ref()).await?;
        ask.authorization = Some(shown);
        expect_content(place, what, self.shared.http.send(ask).await?)
    }
}

/// Tries until it works or cannot.
async fn persist<'a, T>(
    patience: Patience,
    attempt: impl Fn() -> BoxFuture<'a, Result<T, Trouble>>,
) -> Pulled<T> {
    let mut retries = Retries::new(patience, 0);
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(trouble) => retries.pause(trouble, 0).await?,
        }
    }
}

/// Says that a mirror did not help, where the operator looks.
pub(crate) fn passed_over(mirror: &Place, message: &str) {
    tracing::info!(mirror = mirror.name(), "a mirror is passed over: {message}");
}

/// Whether the answer is what was asked for, and if not, what that means.
fn expect_content(place: &Place, what: &str, answer: Answer) -> Result<Answer, Trouble> {
    let (registry, status) = (&place.visitor.registry, answer.status);
    let has_credentials = place.visitor.credentials.is_some();
    match status.as_u16() {
        200 | 206 => Ok(answer),
        // To whether there is a blob. Who is sent on to its bytes may have them.
        301 | 302 | 303 | 307 | 308 => Ok(answer),
        401 | 403 if has_credentials => Err(unauthorized(format!(
            "{registry} answered {status} for {what}: its credentials do not let one pull"
        ))
        .into()),
        401 | 403 => {
            Err(unauthorized(format!("{registry} answered {status} for {what}: give credentials")).into())
        }
        404 | 410 => Err(not_found(format!("there is no {what} ({registry} answered {status})")).into()),
        408 | 425 | 429 | 500..=599 => Err(Trouble::Passing {
            message: format!("{registry} answered {status} for {what}"),
            pause: pause_asked(&answer.headers),
        }),
        _ => Err(invalid(format!("{registry} answered {status} for {what}")).into()),
    }
}

/// Where the bytes of a part begin.
fn from_of(answer: &Answer) -> Option<u64> {
    let range = answer.headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}
