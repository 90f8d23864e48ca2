//! One request: where it goes, whether it may, and what passes.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONNECTION;
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, watch};
use wire::ingress::{Destination, Passage, Route, RouteQuery};

use super::body::{AnswerBody, Answered, Answering, Sent, full};
use super::credentials::Credentials;
use super::crowds::{Crowds, Guest, Visitor};
use super::fast::Lines;
use super::headers::{self, Asker};
use super::host::{self, Domain};
use super::limits::Limits;
use super::mask::Mask;
use super::passages::{Passages, Stay};
use super::refusal::{Refusal, wants_page};
use super::tally::{Open, Tally};
use super::target::{self, Target};
use super::trusted::Trusted;
use super::upgrade::Upgrade;
use super::upstream::{Lent, Upstreams, is_grpc};

/// Who is at the other end of a connection.
#[derive(Clone)]
pub struct Caller {
    /// From where, and how.
    pub asker: Asker,
    /// Its place among the connections; what it becomes keeps it.
    pub place: Arc<Place>,
    /// Becomes true when the server stops.
    pub stopping: watch::Receiver<bool>,
}

/// A connection's place, among all and among those of its address.
pub struct Place {
    _among_all: OwnedSemaphorePermit,
    _open: Open,
    visitor: Visitor,
}

impl Place {
    /// The place that these are.
    pub fn new(among_all: OwnedSemaphorePermit, visitor: Visitor, open: Open) -> Self {
        Self { _among_all: among_all, _open: open, visitor }
    }

    /// What it is told whatever it asks, if its address has too many.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.visitor.refusal.as_ref()
    }
}

/// A request under way: one of so many, and for as long as it may be.
pub struct Visit {
    _guest: Guest,
    /// What let it in.
    pub stay: Stay,
}

impl Visit {
    /// The visit of this guest.
    pub fn new(guest: Guest, stay: Stay) -> Self {
        Self { _guest: guest, stay }
    }
}

/// A request that may pass, as its app is to see it.
pub struct Admitted {
    /// Its head, but for where it goes.
    pub head: Parts,
    /// What the client calls the app.
    pub host: HeaderValue,
    /// What the app is asked for.
    pub path: PathAndQuery,
    /// What keeps from the app how it was found.
    pub mask: Mask,
    /// Its place among those under way.
    pub visit: Visit,
}

/// See the module.
pub struct Door {
    /// What the names of sandboxes end with.
    pub domain: Domain,
    /// How much and how long.
    pub limits: Limits,
    /// What happened.
    pub tally: Arc<Tally>,
    /// Connections to apps that hyper drives, and how new ones are made.
    pub upstreams: Upstreams,
    /// Those that it does not.
    pub lines: Lines,
    passages: Passages,
    trusted: Trusted,
    crowds: Arc<Crowds>,
}

impl Door {
    /// One made of these, where nobody is yet.
    pub fn new(
        domain: Domain,
        limits: Limits,
        tally: Arc<Tally>,
        passages: Passages,
        trusted: Trusted,
        upstreams: Upstreams,
    ) -> Self {
        let lines = Lines::new(&limits);
        Self { domain, limits, tally, upstreams, lines, passages, trusted, crowds: Arc::default() }
    }

    /// The same door for another thread, with connections to apps of its own.
    pub fn beside(&self) -> Self {
        let tally = self.tally.beside();
        Self {
            domain: self.domain.clone(),
            limits: self.limits.clone(),
            tally: tally.clone(),
            passages: self.passages.beside(tally.clone()),
            trusted: self.trusted.clone(),
            upstreams: self.upstreams.beside(tally),
            lines: Lines::new(&self.limits),
            crowds: self.crowds.clone(),
        }
    }

    /// One more connection, if its address may have it; one of a load balancer of ours has as many as it has clients.
    pub fn visitor(&self, address: IpAddr) -> Option<Visitor> {
        let is_trusted = self.trusted.has(address);
        let most = if is_trusted { usize::MAX } else { self.limits.address_connections_max };
        self.crowds.visitor(address, most)
    }

    /// Looks after what is under way and what is kept, for ever.
    pub async fn keep(&self) {
        tokio::join!(self.passages.keep(), self.upstreams.keep(), self.lines.keep());
    }

    /// Tells control what was counted, here and beside, for ever.
    pub async fn tell(&self) {
        self.passages.tell().await;
    }

    /// The answer to a request, which is a refusal's page if it goes nowhere.
    pub async fn answer(&self, request: Request<Incoming>, caller: &Caller) -> Response<AnswerBody> {
        let wants_page = wants_page(request.headers());
        if let Some(refusal) = caller.place.refusal() {
            self.tally.refused(refusal);
            return last(refusal.answer(wants_page).map(full), request.version());
        }
        match self.pass(request, caller).await {
            Ok(answer) => answer,
            Err(refusal) => {
                self.tally.refused(&refusal);
                refusal.answer(wants_page).map(full)
            }
        }
    }

    async fn pass(
        &self,
        mut request: Request<Incoming>,
        caller: &Caller,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let upgrade = Upgrade::asked(&mut request)?;
        let (head, body) = request.into_parts();
        let Admitted { head, host, path, mask, visit } = self.admit(head, caller).await?;
        let (mut onward, answering) = onward(head, body, &host, path, &self.limits)?;
        if let Some(upgrade) = &upgrade {
            upgrade.ask(&mut onward)?;
        }
        let (mut answer, lent) = tokio::select! {
            answer = self.upstreams.send(visit.stay.route(), onward) => answer?,
            () = visit.stay.over() => return Err(no_longer()),
        };
        mask.answer(answer.headers_mut());
        answering.begun();
        let answer = match upgrade {
            Some(upgrade) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                upgrade.begin(answer, visit, self.tally.upgraded(), caller)
            }
            _ => returned(answer, lent, visit),
        }?;
        self.tally.answered(answer.status());
        Ok(answer)
    }

    /// Lets a request pass, if it may: its head as the app is to see it, and where that is.
    ///
    /// # Errors
    /// Why it may not.
    pub async fn admit(&self, mut head: Parts, caller: &Caller) -> Result<Admitted, Refusal> {
        self.check_size(&head.headers)?;
        let host = target::host(head.version, &head.uri, &head.headers)?;
        let mut credentials = Credentials::read(&head.headers)?;
        let Target { to, path, by_user } = target::target(&self.domain, host, &head.uri, &credentials)?;
        let query = query(to, &mut credentials);
        let stay = self.passages.enter(&query).await?;
        let Passage { route, key, .. } = &stay.leave.passage;
        let guest = stay.leave.seats.enter(&self.limits)?;
        let asker = self.trusted.asker(&caller.asker, &head.headers);
        let mask = Mask::of(&query.to, route, &self.domain, host);
        let host = self.host_for_the_app(&mask.text(host), route)?;
        credentials.strip(&mut head.headers, by_user, key.is_some());
        mask.request(&mut head.headers);
        headers::request(&mut head.headers, head.version, &asker, &host)?;
        Ok(Admitted { head, host, path, mask, visit: Visit::new(guest, stay) })
    }

    /// The number of headers, which HTTP/2 bounds only in bytes.
    fn check_size(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let most = self.limits.headers_max;
        if headers.len() <= most {
            return Ok(());
        }
        let message = format!("a request has at most {most} headers (`headers_max`)");
        Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_max", message))
    }

    /// What the client calls us; one that calls us nothing has HTTP/1.0, and apps of today want to be called something.
    fn host_for_the_app(&self, host: &str, route: &Route) -> Result<HeaderValue, Refusal> {
        let place = || host::Place { sandbox: route.sandbox.clone(), port: Some(route.port) };
        let name =
            if host.is_empty() { format!("{}.{}", place(), self.domain).into() } else { Cow::from(host) };
        HeaderValue::from_str(&name).map_err(|_| Refusal::malformed("the host is not a name"))
    }
}

/// A presigned URL needs no key: what looks like one is the app's.
fn query(to: Destination, credentials: &mut Credentials) -> RouteQuery {
    let key = match to {
        Destination::Sandbox { .. } => credentials.key.take(),
        Destination::Presigned(_) => None,
    };
    RouteQuery { to, key }
}

/// The answer after which its connection ends; HTTP/2 has no word for it in answers.
fn last(mut answer: Response<AnswerBody>, version: Version) -> Response<AnswerBody> {
    if version <= Version::HTTP_11 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// The request as the app gets it.
fn onward(
    head: Parts,
    body: Incoming,
    host: &HeaderValue,
    path: PathAndQuery,
    limits: &Limits,
) -> Result<(Request<Sent>, Answering), Refusal> {
    let is_grpc = is_grpc(&head.headers);
    let answering = Answering::new(is_grpc);
    let mut onward = Request::new(Sent::new(body, limits, answering.clone())?);
    *onward.uri_mut() = if is_grpc { absolute(host, path)? } else { path.into() };
    *onward.method_mut() = head.method;
    *onward.headers_mut() = head.headers;
    *onward.version_mut() = Version::HTTP_11;
    Ok((onward, answering))
}

/// HTTP/2 has the host in the address.
fn absolute(host: &HeaderValue, path: PathAndQuery) -> Result<Uri, Refusal> {
    let address = Uri::builder().scheme(Scheme::HTTP).authority(host.as_bytes()).path_and_query(path);
    address.build().map_err(|_| Refusal::malformed("the host is not a name"))
}

/// The answer as the client gets it.
fn returned(answer: Response<Incoming>, lent: Lent, visit: Visit) -> Result<Response<AnswerBody>, Refusal> {
    let (mut head, body) = answer.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(bad_answer("it changed the protocol without being asked to"));
    }
    headers::answer(&mut head.headers).map_err(|refusal| bad_answer(&refusal.message))?;
    head.extensions.clear();
    head.version = Version::HTTP_11;
    Ok(Response::from_parts(head, Answered::new(body, lent, visit).boxed_unsync()))
}

/// An app said something that is no answer.
pub fn bad_answer(why: &str) -> Refusal {
    let message = format!("what the app in the sandbox answered is not HTTP: {why}");
    Refusal::new(StatusCode::BAD_GATEWAY, "app_malformed", message)
}

/// What let a request in was taken back before it was answered.
pub fn no_longer() -> Refusal {
    let message = "what let you in has been taken back, or has expired";
    Refusal::new(StatusCode::FORBIDDEN, "no_longer_allowed", message)
}

/// Whether this asks for a tunnel, and to where.
pub fn tunnel(request: &Request<Incoming>) -> Option<String> {
    let is_tunnel = request.method() == Method::CONNECT && request.version() <= Version::HTTP_11;
    let host = request.uri().authority().filter(|_| is_tunnel)?;
    Some(host.host().to_owned())
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response<AnswerBody> {
    let mut answer = Response::new(full(Bytes::new()));
    *answer.status_mut() = status;
    answer
}
