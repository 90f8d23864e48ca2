//! A stream that ends when whoever lent it says so.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::dial::{Lease, Line, Wire};

/// A connection into a sandbox for as long as its lease lasts, wherever the stream is handed on to.
pub struct Leased {
    wire: Box<dyn Wire>,
    lease: Lease,
    is_over: bool,
}

impl From<Line> for Leased {
    fn from(line: Line) -> Self {
        Self { wire: line.wire, lease: line.lease, is_over: false }
    }
}

impl Leased {
    /// Completes when the lease is over.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.is_over = self.is_over || self.lease.as_mut().poll(cx).is_ready();
        if self.is_over { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Looks whether the lease is over, and has whoever reads woken when it will be.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll_over(cx) {
            Poll::Ready(()) => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the sandbox is going away"))
            }
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Leased {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.wire).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Leased {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_reader_hears_that_the_lease_is_over() {
        let (ours, _theirs) = tokio::io::duplex(4);
        let (end, ended) = oneshot::channel::<()>();
        let lease: Lease = Box::pin(async { drop(ended.await) });
        let mut leased = Leased::from(Line { wire: Box::new(ours), lease });
        let reading = tokio::spawn(async move { leased.read_u8().await });
        end.send(()).unwrap();
        let error = reading.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }
}
