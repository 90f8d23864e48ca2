//! A client of the public API for stories: short to write, whole answers.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::socket::Socket;

type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// A client that speaks for one key.
#[derive(Clone)]
pub struct Client {
    http: HyperClient<HttpConnector, RequestBody>,
    base: String,
    key: String,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The answer, which must have this status.
    ///
    /// # Panics
    /// When it has another; with the body, which says why.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

impl Client {
    /// A client of the server at `base`, such as `http://127.0.0.1:7070`.
    pub fn new(base: String, key: String) -> Self {
        Self { http: HyperClient::builder(TokioExecutor::new()).build_http(), base, key }
    }

    /// The same server, asked with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// A WebSocket to `path`.
    ///
    /// # Errors
    /// The status of a refusal.
    pub async fn socket(&self, path: &str) -> Result<Socket, StatusCode> {
        Socket::open(&self.base, path, &self.key).await
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_with(path, &[], body).await
    }

    /// `POST` of JSON with further headers.
    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.send(Method::POST, path, &headers, body.to_string().into()).await
    }

    /// `PUT` of JSON.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, &[("content-type", "application/json")], body.to_string().into()).await
    }

    /// `PATCH` with JSON.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, &[("content-type", "application/json")], body.to_string().into()).await
    }

    /// `POST` of raw bytes.
    pub async fn post_bytes(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/octet-stream")], body.into()).await
    }

    /// Any request of JSON, of a server that may be killed meanwhile: no answer is an answer too.
    pub async fn attempt(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Option<Answer> {
        let headers = [("content-type", "application/json")];
        let response = self
            .http
            .request(self.request(method, path, &headers, Full::new(body.into()).boxed_unsync()))
            .await
            .ok()?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// `POST` of these pieces, which are made as they are sent. Nobody says ahead how many there are.
    ///
    /// # Panics
    /// As [`Client::send`].
    pub async fn upload(
        &self,
        path: &str,
        kind: &str,
        pieces: impl IntoIterator<Item = Bytes, IntoIter: Send + 'static>,
    ) -> Answer {
        let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
        let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
        let request = self.request(Method::POST, path, &[("content-type", kind)], body);
        whole(self.http.request(request).await.expect("the server is reached")).await
    }

    /// Any request; the answer is read to its end.
    ///
    /// # Panics
    /// When the server cannot be reached or breaks off.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        whole(self.open(method, path, headers, body).await).await
    }

    /// Any request; the answer's body is still to be read.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> http::Response<Incoming> {
        let request = self.request(method, path, headers, Full::new(body).boxed_unsync());
        self.http.request(request).await.expect("the server is reached")
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: RequestBody,
    ) -> Request<RequestBody> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if !self.key.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.key));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).expect("a request of a test is well formed")
    }
}

/// An answer, read to its end.
async fn whole(response: http::Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("the answer broke off").to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}
