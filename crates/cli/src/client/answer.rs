//! Answers: whole, or line by line as they come.

use anyhow::{Context, Result, anyhow, bail};
use bytes::{Bytes, BytesMut};
use http::Response;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

/// A line of a streamed answer, in bytes, at most.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// An answer that is read whole, in bytes, at most.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// All of an answer.
///
/// # Errors
/// When the connection breaks, or the answer is longer than anybody needs.
pub async fn whole(response: Response<Incoming>) -> Result<Bytes> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    Ok(body.collect().await.map_err(|error| anyhow!("the answer broke off: {error}"))?.to_bytes())
}

/// The next piece of an answer, or `None` after the last.
///
/// # Errors
/// When the connection breaks: the answer is then incomplete.
pub async fn piece(body: &mut Incoming) -> Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.context("the answer broke off")?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// An answer, line by line.
pub struct Lines {
    body: Incoming,
    unread: BytesMut,
    /// Bytes of `unread` that hold no line's end.
    searched: usize,
}

impl Lines {
    /// The lines of an answer.
    pub fn of(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), unread: BytesMut::new(), searched: 0 }
    }

    /// The next line without its end, or `None` after the last.
    ///
    /// Nothing is lost when the wait for it is given up.
    ///
    /// # Errors
    /// When the connection breaks: the answer is then incomplete.
    pub async fn next(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.unread[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.unread.split_to(self.searched + end + 1);
                self.searched = 0;
                let text = String::from_utf8_lossy(&line);
                return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
            }
            self.searched = self.unread.len();
            if self.unread.len() > LINE_BYTES_MAX {
                bail!("the server sent a line of more than {LINE_BYTES_MAX} bytes");
            }
            match piece(&mut self.body).await? {
                Some(data) => self.unread.extend_from_slice(&data),
                None => return Ok(None),
            }
        }
    }
}
