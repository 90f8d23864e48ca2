//! A small client of the public API, for the commands of this binary.

mod answer;
mod body;
mod events;
mod failure;
mod options;
mod socket;

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::output::note;

pub use answer::{Lines, piece};
pub use body::{Body, from_pieces, from_reader, pieces, whole};
pub use events::Events;
pub use failure::{Failure, OUR_FAILURE, may_pass, report};
pub use options::{Ask, Noun, Options, Session};
pub use socket::{Closed, Shown, Socket, Typist};

/// The longest a refusal may make us wait before we ask once more, in seconds.
const RETRY_AFTER_SECONDS_MAX: u64 = 60;

/// A client of one server.
pub struct Client {
    http: HyperClient<HttpConnector, Body>,
    base: String,
    key: String,
}

impl Client {
    /// A client of the server at this URL, with this key.
    pub fn new(url: &str, key: &str) -> Self {
        let http = HyperClient::builder(TokioExecutor::new()).build_http();
        Self { http, base: url.trim_end_matches('/').to_owned(), key: key.trim().to_owned() }
    }

    /// Asks with a JSON body, and reads the JSON answer.
    ///
    /// # Errors
    /// [`Failure`], or an answer that is not understood.
    pub async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        understood(&answer::whole(self.asked(method, path, body).await?).await?)
    }

    /// Asks without a body, and reads the JSON answer.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        understood(&answer::whole(self.send(Method::GET, path, Bytes::new()).await?).await?)
    }

    /// Asks without a body, and hears of what happens.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn hear(&self, path: &str) -> Result<Events> {
        Ok(Events::of(Lines::of(self.send(Method::GET, path, Bytes::new()).await?)))
    }

    /// Asks with a JSON body; success is all there is to hear.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn order(&self, method: Method, path: &str, body: &impl Serialize) -> Result<()> {
        self.asked(method, path, body).await.map(drop)
    }

    /// A WebSocket to `path`.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn socket(&self, path: &str) -> Result<Socket> {
        Socket::open(&self.base, path, &self.key).await
    }

    /// Deletes.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.send(Method::DELETE, path, Bytes::new()).await.map(drop)
    }

    /// Asks, and reads the answer line by line.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn lines(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Lines> {
        Ok(Lines::of(self.asked(method, path, body).await?))
    }

    /// Asks, and hears of what happens.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn events(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Events> {
        Ok(Events::of(self.lines(method, path, body).await?))
    }

    /// Asks with a JSON body; the answer's bytes are the caller's to read.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn asked(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Response<Incoming>> {
        self.send(method, path, serde_json::to_vec(body)?.into()).await
    }

    /// Sends a body as it is read, which can be done only once.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn upload(&self, path: &str, body: Body) -> Result<()> {
        let response = self.once(Method::POST, path, "application/octet-stream", body).await?;
        if response.status().is_success() { Ok(()) } else { Err(failure::refusal(response).await.into()) }
    }

    /// Sends a request; if the server says when to come back, once more then.
    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>> {
        let response = self.once(method.clone(), path, "application/json", whole(body.clone())).await?;
        let response = match pause(&response) {
            Some(seconds) => {
                note(&format!("atoll: the server has too much to do; asking again in {seconds} s"));
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                self.once(method, path, "application/json", whole(body)).await?
            }
            None => response,
        };
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(failure::refusal(response).await.into())
        }
    }

    async fn once(&self, method: Method, path: &str, kind: &str, body: Body) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(header::CONTENT_TYPE, kind)
            .body(body)?;
        let answered = self.http.request(request).await;
        Ok(answered.map_err(|error| Failure::of_connection(&self.base, error))?)
    }
}

fn understood<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).context("the server's answer is not what this version expects")
}

/// Seconds to wait, if the server refused for now and a wait is worth it.
fn pause<T>(response: &Response<T>) -> Option<u64> {
    if response.status() != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    (seconds <= RETRY_AFTER_SECONDS_MAX).then_some(seconds)
}

/// A piece of a path or query, percent-encoded until nothing is left that means something there.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_an_encoded_piece_means_anything() {
        assert_eq!(encoded("a-b_c.d~9"), "a-b_c.d~9");
        assert_eq!(encoded("my term/1?&=+%"), "my%20term%2F1%3F%26%3D%2B%25");
        assert_eq!(encoded("ä"), "%C3%A4");
    }

    fn check_pause(status: u16, retry_after: Option<&str>, expect: Option<u64>) {
        let mut response = Response::builder().status(status);
        if let Some(value) = retry_after {
            response = response.header(header::RETRY_AFTER, value);
        }
        assert_eq!(pause(&response.body(()).unwrap()), expect, "{status} {retry_after:?}");
    }

    #[test]
    fn only_a_short_wait_that_the_server_asks_for_is_waited() {
        check_pause(429, Some("3"), Some(3));
        check_pause(429, Some("61"), None);
        check_pause(429, Some("soon"), None);
        check_pause(429, None, None);
        check_pause(503, Some("3"), None);
    }
}
