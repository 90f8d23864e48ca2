//! Connects an HTTP client to a Unix socket, whatever the address in the request says.

use std::future::Future;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// Connects to one Unix socket.
#[derive(Debug, Clone)]
pub struct UnixConnector {
    socket: PathBuf,
}

impl UnixConnector {
    /// Of this socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }
}

impl tower_service::Service<Uri> for UnixConnector {
    type Response = TokioIo<NodeStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let socket = self.socket.clone();
        Box::pin(async move { Ok(TokioIo::new(NodeStream(UnixStream::connect(socket).await?))) })
    }
}

/// A connection that can be read to its end when it can no longer be written.
///
/// A node that refuses an upload answers and hangs up while we still send. The
/// client would give up at the failed write, and never read the answer that is
/// already here: so such writes go nowhere, and the reader finds the answer, or
/// the end of the connection without one.
pub struct NodeStream(UnixStream);

fn forgive(written: Poll<io::Result<usize>>, bytes: usize) -> Poll<io::Result<usize>> {
    match written {
        Poll::Ready(Err(error))
            if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
        {
            Poll::Ready(Ok(bytes))
        }
        other => other,
    }
}

impl AsyncWrite for NodeStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        forgive(Pin::new(&mut self.0).poll_write(cx, bytes), bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        forgive(Pin::new(&mut self.0).poll_write_vectored(cx, pieces), bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl AsyncRead for NodeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Connection for NodeStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_was_said_before_hanging_up_is_read() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut ours = NodeStream(ours);
        ours.write_all(b"never read").await.unwrap();
        theirs.write_all(b"no").await.unwrap();
        drop(theirs);
        ours.write_all(b"written to nobody").await.unwrap();
        let mut answer = [0; 2];
        ours.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"no");
        assert!(!matches!(ours.read(&mut answer).await, Ok(1..)), "then it is over");
    }
}
