//! A WebSocket of raw bytes: a terminal, as the one who sits at it has it.

use std::io;

use anyhow::Result;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::header;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::failure::{BoxError, Failure, refused};

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection.
pub struct Socket {
    /// For what is typed.
    pub typist: Typist,
    /// For what is shown.
    pub shown: Shown,
}

/// Where what is typed goes.
pub struct Typist(SplitSink<Stream, Message>);

/// Where what is shown comes from.
pub struct Shown {
    stream: SplitStream<Stream>,
    base: String,
}

/// How the server ended a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// A close code (RFC 6455, 7.4).
    pub code: u16,
    /// In words.
    pub reason: String,
}

impl Socket {
    /// Connects to `path` of the server at `base`.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn open(base: &str, path: &str, key: &str) -> Result<Self> {
        let address = format!("{}{path}", base.replacen("http", "ws", 1));
        let mut request = address.into_client_request()?;
        request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {key}").parse()?);
        let (stream, _) = connect_async(request).await.map_err(|error| failure(base, error))?;
        let (sink, stream) = stream.split();
        Ok(Self { typist: Typist(sink), shown: Shown { stream, base: base.to_owned() } })
    }
}

impl Typist {
    /// Types this. Whether anybody still takes it.
    pub async fn type_in(&mut self, bytes: Bytes) -> bool {
        self.0.send(Message::Binary(bytes)).await.is_ok()
    }
}

impl Shown {
    /// What is shown next, or how it ended.
    ///
    /// # Errors
    /// When the connection breaks off.
    pub async fn next(&mut self) -> Result<Result<Bytes, Closed>> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Binary(bytes))) => return Ok(Ok(bytes)),
                Some(Ok(Message::Text(text))) => return Ok(Ok(text.into())),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Ok(Err(Closed { code: frame.code.into(), reason: frame.reason.to_string() }));
                }
                Some(Ok(Message::Close(None))) | None => return Err(self.broken(Error::ConnectionClosed)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.broken(error)),
            }
        }
    }

    fn broken(&self, error: Error) -> anyhow::Error {
        Failure::Broken { base: self.base.clone(), source: error.into() }.into()
    }
}

fn failure(base: &str, error: Error) -> Failure {
    let base = base.to_owned();
    match error {
        Error::Http(answer) => refused(answer.status(), answer.body().as_deref().unwrap_or_default()),
        Error::Io(source) if source.kind() == io::ErrorKind::ConnectionRefused => {
            Failure::Unreachable { base, source: source.into() }
        }
        other => Failure::Broken { base, source: BoxError::from(other) },
    }
}
