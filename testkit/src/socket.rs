//! A WebSocket as a client of a terminal has it: what it types, what it sees, how it ends.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// What a story waits to see has so long to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection, and all it has shown.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    seen: Vec<u8>,
    looked: usize,
}

impl Socket {
    /// Connects to `path` of the server at `base`.
    ///
    /// # Errors
    /// The status of a refusal.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub async fn open(base: &str, path: &str, key: &str) -> Result<Self, StatusCode> {
        let address = format!("{}{path}", base.replacen("http", "ws", 1));
        let mut request = address.into_client_request().expect("the address of a story is well formed");
        let value = format!("Bearer {key}").parse().expect("a key is a header");
        request.headers_mut().insert("authorization", value);
        match tokio_tungstenite::connect_async(request).await {
            Ok((stream, _)) => Ok(Self { stream, seen: Vec::new(), looked: 0 }),
            Err(Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("no answer to an upgrade: {error}"),
        }
    }

    /// Types this, as one binary message.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn type_in(&mut self, text: &str) {
        self.stream.send(Message::binary(text.as_bytes().to_vec())).await.expect("the socket is open");
    }

    /// The same as a text message.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn type_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.expect("the socket is open");
    }

    /// Looks until `text` is shown, after whatever was looked for before.
    ///
    /// # Panics
    /// When it never is; with what was shown.
    pub async fn until(&mut self, text: &str) {
        let looked = tokio::time::timeout(PATIENCE, self.look_for(text)).await;
        looked.unwrap_or_else(|_| panic!("{text:?} was not shown in time: {:?}", self.text()));
    }

    async fn look_for(&mut self, text: &str) {
        loop {
            let new = String::from_utf8_lossy(&self.seen[self.looked..]).into_owned();
            if let Some(at) = new.find(text) {
                self.looked += at + text.len();
                return;
            }
            match self.next().await {
                Some(Message::Binary(bytes)) => self.seen.extend_from_slice(&bytes),
                Some(Message::Close(frame)) => panic!("{text:?} was never shown: {new:?}, then {frame:?}"),
                Some(_) => {}
                None => panic!("{text:?} was never shown: {new:?}, then nothing"),
            }
        }
    }

    /// Looks until the server closes: with what code, and why.
    ///
    /// # Panics
    /// When the connection breaks off instead.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Some(Message::Binary(bytes)) => self.seen.extend_from_slice(&bytes),
                Some(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.to_string()),
                Some(_) => {}
                None => panic!("it broke off without a close"),
            }
        }
    }

    /// Waits until there is no more, also where nobody says that the end has come.
    ///
    /// # Panics
    /// When it goes on.
    pub async fn broken_off(&mut self) {
        while self.next().await.is_some() {}
    }

    /// Everything that was shown, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    async fn next(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.stream.next()).await;
        next.unwrap_or_else(|_| panic!("nothing more came after {:?}", self.text()))?.ok()
    }
}
