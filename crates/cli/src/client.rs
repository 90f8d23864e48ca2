//! A small client of the public API, for the commands of this binary.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use bytes::{Bytes, BytesMut};
use clap::Args;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::public::error::ErrorBody;

/// A line of a streamed answer, in bytes, at most.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// An answer that is read whole, in bytes, at most.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where the server is and who we are.
#[derive(Debug, Clone, Args)]
pub struct Server {
    /// The server's URL.
    #[arg(long, env = "ATOLL_URL", default_value = "http://127.0.0.1:7070", global = true)]
    url: String,
    /// An API key.
    #[arg(long, env = "ATOLL_API_KEY", hide_env_values = true, global = true)]
    api_key: Option<String>,
    /// A file that holds an API key; used when no key is given.
    #[arg(long, env = "ATOLL_API_KEY_FILE", default_value = "/var/lib/atoll/api-key", global = true)]
    api_key_file: PathBuf,
}

/// A client of one server.
pub struct Client {
    http: HyperClient<HttpConnector, Full<Bytes>>,
    base: String,
    key: String,
}

impl Server {
    /// A client of this server.
    ///
    /// # Errors
    /// When the URL is not one, or no key can be found.
    pub fn client(&self) -> Result<Client> {
        let uri: Uri = self.url.parse().with_context(|| format!("`{}` is not a URL", self.url))?;
        if uri.scheme_str() != Some("http") {
            bail!("`{}` does not start with http://; this command speaks plain HTTP only", self.url);
        }
        let key = match &self.api_key {
            Some(key) => key.clone(),
            None => read_key(&self.api_key_file)?,
        };
        Ok(Client::new(&self.url, &key))
    }
}

fn read_key(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| {
        format!(
            "no API key: set ATOLL_API_KEY, or --api-key-file to a file that can be read ({})",
            path.display()
        )
    })
}

impl Client {
    /// A client of the server at this URL, with this key.
    pub fn new(url: &str, key: &str) -> Self {
        let http = HyperClient::builder(TokioExecutor::new()).build_http();
        Self { http, base: url.trim_end_matches('/').to_owned(), key: key.trim().to_owned() }
    }

    /// Asks, and reads the JSON answer.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses; its message is passed on.
    pub async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let response = self.send(method, path, serde_json::to_vec(body)?.into()).await?;
        let bytes = read_all(response).await?;
        serde_json::from_slice(&bytes).context("the server's answer is not what this version expects")
    }

    /// Asks with an empty body, and reads the JSON answer.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let bytes = read_all(self.send(Method::GET, path, Bytes::new()).await?).await?;
        serde_json::from_slice(&bytes).context("the server's answer is not what this version expects")
    }

    /// Deletes.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.send(Method::DELETE, path, Bytes::new()).await.map(drop)
    }

    /// Asks, and reads the answer line by line.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn lines(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Lines> {
        let response = self.send(method, path, serde_json::to_vec(body)?.into()).await?;
        Ok(Lines { body: response.into_body(), unread: BytesMut::new() })
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let response = self.http.request(request).await.map_err(|error| {
            anyhow!(error).context(format!("no server answers at {}; is `atoll serve` running?", self.base))
        })?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }
}

async fn read_all(response: Response<Incoming>) -> Result<Bytes> {
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    Ok(body.collect().await.map_err(|error| anyhow!("the answer broke off: {error}"))?.to_bytes())
}

async fn refusal(response: Response<Incoming>) -> anyhow::Error {
    let status = response.status();
    let bytes = read_all(response).await.unwrap_or_default();
    let Ok(body) = serde_json::from_slice::<ErrorBody>(&bytes) else {
        return anyhow!("the server answered {status}");
    };
    let mut message = body.message;
    for field in body.errors {
        message.push_str(&format!("\n  {}: {}", field.field, field.error));
    }
    if status == StatusCode::UNAUTHORIZED {
        message.push_str("\n  hint: ATOLL_API_KEY or --api-key-file say which key is used");
    }
    anyhow!(message)
}

/// An answer, line by line.
pub struct Lines {
    body: Incoming,
    unread: BytesMut,
}

impl Lines {
    /// The next line without its end, or `None` after the last.
    ///
    /// # Errors
    /// When the connection breaks: the answer is then incomplete.
    pub async fn next(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line = self.unread.split_to(end + 1);
                let text = String::from_utf8_lossy(&line);
                return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
            }
            if self.unread.len() > LINE_BYTES_MAX {
                bail!("the server sent a line of more than {LINE_BYTES_MAX} bytes");
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame.context("the answer broke off")?.into_data() {
                        self.unread.extend_from_slice(&data);
                    }
                }
                None => return Ok(None),
            }
        }
    }
}
