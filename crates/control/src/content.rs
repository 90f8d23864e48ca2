//! A body that a client sends, piece by piece, within bounds.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::error::{Error, Result};

/// What is still read of a body that is of no more use, in bytes: a client that is
/// cut off while it sends may never see the answer.
const DRAIN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long that may take.
const DRAIN_WAIT: Duration = Duration::from_secs(10);

/// A body on its way in.
pub struct Content {
    body: Body,
    what: &'static str,
    bytes_max: u64,
    bytes_read: u64,
    idle: Duration,
}

impl Content {
    /// A body of so many bytes at most, whose sender is never silent for longer than `idle`.
    pub fn new(body: Body, what: &'static str, bytes_max: u64, idle: Duration) -> Self {
        Self { body, what, bytes_max, bytes_read: 0, idle }
    }

    /// Whether it says of itself that there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.body.size_hint().exact() == Some(0)
    }

    /// Refuses a body that says of itself that it is too large.
    pub fn check_announced_size(&self) -> Result<()> {
        if self.body.size_hint().lower() > self.bytes_max { Err(self.too_large()) } else { Ok(()) }
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame =
                tokio::time::timeout(self.idle, self.body.frame()).await.map_err(|_| Error::BodyStalled)?;
            let Some(frame) = frame else { return Ok(None) };
            let cut = |error| Error::Body(format!("the request's body did not arrive whole: {error}"));
            let Ok(piece) = frame.map_err(cut)?.into_data() else { continue };
            self.bytes_read += piece.len() as u64;
            if self.bytes_read > self.bytes_max {
                return Err(self.too_large());
            }
            return Ok(Some(piece));
        }
    }

    /// All of it. For bodies whose limit is small.
    pub async fn whole(&mut self) -> Result<Vec<u8>> {
        self.check_announced_size()?;
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    /// Reads on for a while, for nothing.
    pub async fn drain(&mut self) {
        if self.body.size_hint().lower() > DRAIN_BYTES_MAX {
            return;
        }
        let mut left = DRAIN_BYTES_MAX;
        let read = async {
            while let Some(Ok(frame)) = self.body.frame().await {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                if bytes > left {
                    return;
                }
                left -= bytes;
            }
        };
        let _ = tokio::time::timeout(DRAIN_WAIT, read).await;
    }

    fn too_large(&self) -> Error {
        Error::TooLarge { what: self.what, bytes_max: self.bytes_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_body_within_its_limit_arrives_whole() {
        let mut content = Content::new(Body::from("12345678"), "the body", 8, IDLE);
        assert_eq!(content.whole().await.unwrap(), b"12345678");
    }

    #[tokio::test]
    async fn a_body_over_its_limit_is_refused_announced_or_not() {
        let announced = Content::new(Body::from("123456789"), "the body", 8, IDLE);
        assert!(matches!(announced.check_announced_size(), Err(Error::TooLarge { .. })));
        let pieces = futures_util::stream::iter([Ok::<_, Error>("12345"), Ok("6789")]);
        let mut secret = Content::new(Body::from_stream(pieces), "the body", 8, IDLE);
        assert!(secret.check_announced_size().is_ok());
        assert!(matches!(secret.whole().await, Err(Error::TooLarge { .. })));
    }

    #[tokio::test]
    async fn a_silent_sender_is_given_up() {
        let silence = futures_util::stream::pending::<Result<Bytes>>();
        let mut content = Content::new(Body::from_stream(silence), "the body", 8, IDLE);
        assert!(matches!(content.next().await, Err(Error::BodyStalled)));
    }
}
