//! Bodies of requests: bytes at hand, or bytes as they are read.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// A body of a request.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Bytes read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces read ahead of the connection.
const PIECES_AHEAD: usize = 4;

/// A body that is there already.
pub fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A body of what a reader has. A read that fails breaks the request off.
pub fn from_reader(reader: impl Read + Send + 'static) -> Body {
    from_pieces(pieces(reader))
}

/// A body of pieces, as they come. One that could not be had breaks the request off.
pub fn from_pieces(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Body {
    let frames = stream::unfold(pieces, async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((piece.map(Frame::data), pieces))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// What a reader has, piece by piece, read on a thread of its own: some readers cannot be interrupted.
pub fn pieces(mut reader: impl Read + Send + 'static) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let piece = match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => Ok(Bytes::copy_from_slice(&buffer[..length])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    receiver
}
