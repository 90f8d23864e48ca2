//! A body fed through a queue, that ends only when it is told to.
//!
//! If its sender is dropped before that (an error, a panic, a cancelled
//! request), the body fails and the connection is cut: what was sent is never
//! taken for the whole.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;

/// Pieces that wait to be sent, at most.
pub const PIECES_MAX: usize = 4;

/// The body was dropped before it had ended.
#[derive(Debug, thiserror::Error)]
#[error("the body was given up before its end")]
pub struct GivenUp;

enum Piece {
    Data(Bytes),
    End,
}

/// The side that feeds.
pub struct Feeder(mpsc::Sender<Piece>);

/// The side that is sent.
pub struct FiniteBody {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

/// A body and its feeder.
pub fn finite_body() -> (Feeder, FiniteBody) {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    (Feeder(sender), FiniteBody { pieces, ended: false })
}

impl Feeder {
    /// Sends these bytes as soon as there is room.
    ///
    /// # Errors
    /// Nobody reads the body any more.
    pub async fn send(&self, data: Bytes) -> Result<(), GivenUp> {
        self.0.send(Piece::Data(data)).await.map_err(|_| GivenUp)
    }

    /// Says that this was all.
    ///
    /// # Errors
    /// Nobody reads the body any more.
    pub async fn finish(self) -> Result<(), GivenUp> {
        self.0.send(Piece::End).await.map_err(|_| GivenUp)
    }
}

impl Body for FiniteBody {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = ready!(self.pieces.poll_recv(cx));
        self.ended = !matches!(piece, Some(Piece::Data(_)));
        Poll::Ready(match piece {
            Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Piece::End) => None,
            None => Some(Err(GivenUp)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_finished_body_is_whole() {
        let (feeder, body) = finite_body();
        feeder.send(Bytes::from_static(b"all")).await.unwrap();
        feeder.finish().await.unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "all");
    }

    #[tokio::test]
    async fn a_body_whose_feeder_is_gone_fails() {
        let (feeder, body) = finite_body();
        feeder.send(Bytes::from_static(b"part")).await.unwrap();
        drop(feeder);
        assert!(body.collect().await.is_err());
    }
}
