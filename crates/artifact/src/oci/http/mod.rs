//! Requests to registries and the services around them.
//!
//! Redirects are followed here, not by a library: each hop is held to the same rules as a first request, and what
//! proves who asks stays with the host it is for.

mod body;
mod connect;
mod retry;
mod tls;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

pub(crate) use body::{Body, read_bounded};
pub(crate) use retry::{Retries, pause_asked};

use self::connect::{ConnectError, Connector};
use self::tls::Tls;
use super::Settings;
use super::failure::{Pulled, Trouble, causes, refused};

/// Redirects followed for one request.
const REDIRECTS_MAX: usize = 5;
/// Connections to one host kept open while nobody needs them.
const IDLE_CONNECTIONS_MAX: usize = 4;
/// How long they are kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Who we are, to registries.
const USER_AGENT: &str = concat!("atoll/", env!("CARGO_PKG_VERSION"));

/// What is asked of a service.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    /// Never sent to a host that `url` does not name.
    pub authorization: Option<HeaderValue>,
    pub body: Bytes,
    /// Whether the operator's settings name this host, as opposed to a user or a registry.
    pub is_operators: bool,
}

impl Ask {
    pub(crate) fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            authorization: None,
            body: Bytes::new(),
            is_operators: false,
        }
    }

    pub(crate) fn head(url: Url) -> Self {
        Self { method: Method::HEAD, ..Self::get(url) }
    }

    pub(crate) fn post(url: Url, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut ask = Self { method: Method::POST, body: body.into(), ..Self::get(url) };
        ask.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        ask
    }

    /// A form of these fields.
    pub(crate) fn post_form(url: Url, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self::post(url, "application/x-www-form-urlencoded", body)
    }
}

/// An answer, and whose it is.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    /// Whether the host that was asked answered itself, not one it sent us to.
    pub is_direct: bool,
}

type HyperClient = Client<Connector, Full<Bytes>>;

/// Speaks HTTP by the operator's rules.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    settings: Arc<Settings>,
    /// For hosts that strangers name.
    strangers: HyperClient,
    /// For those the operator names, wherever they are. Apart, so that neither finds the other's open connections.
    operators: HyperClient,
}

impl Http {
    /// # Errors
    /// When a file of the settings cannot be used; in words for the operator.
    pub(crate) fn new(settings: Arc<Settings>) -> Result<Self, String> {
        let tls = Arc::new(Tls::new(&settings.authorities)?);
        let client = |is_operators| {
            let connector = Connector::new(settings.clone(), tls.clone(), is_operators);
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_MAX)
                .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
                .build(connector)
        };
        Ok(Self { strangers: client(false), operators: client(true), settings })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The answer to this, wherever redirects lead.
    pub(crate) async fn send(&self, ask: Ask) -> Result<Answer, Trouble> {
        let asked = ask.url.origin();
        let mut hop = ask;
        for _ in 0..=REDIRECTS_MAX {
            self.check(&hop)?;
            let url = hop.url.clone();
            let response = self.once(&hop).await?;
            let Some(next) = next_hop(&hop.method, &response, &url)? else {
                let (parts, body) = response.into_parts();
                let body = Body::new(body, url.authority().to_owned(), &self.settings.patience);
                let is_direct = url.origin() == asked;
                return Ok(Answer { status: parts.status, headers: parts.headers, body, is_direct });
            };
            let stays = next.origin() == url.origin();
            hop.authorization = hop.authorization.filter(|_| stays);
            hop.is_operators &= stays;
            hop.url = next;
        }
        Err(refused(format!("{} redirects us more than {REDIRECTS_MAX} times", asked.ascii_serialization()))
            .into())
    }

    /// What a request must be before a connection is made for it.
    fn check(&self, ask: &Ask) -> Pulled<()> {
        let url = &ask.url;
        let host = url.host_str().unwrap_or_default();
        let named = ask.is_operators || self.settings.is_plain(host, url.port());
        match url.scheme() {
            "https" => Ok(()),
            "http" if named => Ok(()),
            "http" => Err(refused(format!(
                "{} would be spoken to without TLS; the operator can allow that with --registry-plain-http",
                url.authority()
            ))),
            other => {
                Err(refused(format!("{} is at a `{other}:` address, which is not fetched", url.authority())))
            }
        }
    }

    async fn once(&self, ask: &Ask) -> Result<Response<Incoming>, Trouble> {
        let mut request = Request::builder().method(ask.method.clone()).uri(ask.url.as_str());
        if let Some(headers) = request.headers_mut() {
            headers.extend(ask.headers.clone());
            headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
            headers.extend(ask.authorization.clone().map(|value| (header::AUTHORIZATION, value)));
        }
        let place = ask.url.authority();
        let request = request
            .body(Full::new(ask.body.clone()))
            .map_err(|error| refused(format!("{place} cannot be asked: {error}")))?;
        let client = if ask.is_operators { &self.operators } else { &self.strangers };
        let bound = self.settings.patience.connect + self.settings.patience.answer;
        match tokio::time::timeout(bound, client.request(request)).await {
            Err(_) => Err(Trouble::passing(format!("{place} did not answer within {} s", bound.as_secs()))),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(trouble(place, &error)),
        }
    }
}

/// Where the answer sends us, if it does. Only what is read can be looked for elsewhere.
fn next_hop(method: &Method, response: &Response<Incoming>, from: &Url) -> Pulled<Option<Url>> {
    let is_redirect =
        matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) && *method == Method::GET;
    let Some(location) = response.headers().get(header::LOCATION).filter(|_| is_redirect) else {
        return Ok(None);
    };
    let next = location.to_str().ok().and_then(|location| from.join(location).ok());
    match next {
        Some(next) if next.username().is_empty() && next.password().is_none() => Ok(Some(next)),
        _ => Err(refused(format!("{} redirects us to something that is no URL", from.authority()))),
    }
}

/// What a request that got no answer means.
fn trouble(place: &str, error: &(dyn StdError + 'static)) -> Trouble {
    match causes(error).find_map(|cause| cause.downcast_ref::<ConnectError>()) {
        Some(ConnectError::Refused(message)) => refused(message).into(),
        Some(ConnectError::Failed(message)) => Trouble::passing(message),
        None => Trouble::passing(format!("{place} broke off: {}", wire::causes::chain(error))),
    }
}
