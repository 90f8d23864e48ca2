//! TCP that acknowledges at once what is not all.
//!
//! Many apps write an answer's head and its body apart and leave Nagle's algorithm on: the body then waits for the head to be
//! acknowledged, which the kernel puts off for 40 ms in the hope of something to send with it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::sockopt::set_tcp_quickack;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// See the module.
pub struct Prompt(TcpStream);

impl Prompt {
    /// `stream`, from now on.
    pub fn new(stream: TcpStream) -> Self {
        let prompt = Self(stream);
        prompt.acknowledge();
        prompt
    }

    /// The kernel forgets this when it likes, so it is said again with everything that arrives.
    fn acknowledge(&self) {
        // Without it, answers are as correct as with it.
        let _ = set_tcp_quickack(&self.0, true);
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
        // An answer that is whole is acknowledged by what is asked next.
        if !is_whole(&buffer.filled()[before..]) {
            self.acknowledge();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
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

/// Whether this is an answer of HTTP/1.1 and all of it. Of what it is not sure, it says no.
fn is_whole(read: &[u8]) -> bool {
    if !read.starts_with(b"HTTP/1.") {
        return false;
    }
    let (mut rest, mut length) = (read, None);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = rest[..end].trim_ascii();
        rest = &rest[end + 1..];
        if line.is_empty() {
            return length == Some(rest.len());
        }
        length = length.or_else(|| content_length(line));
    }
    false
}

fn content_length(line: &[u8]) -> Option<usize> {
    let (name, value) = line.split_at_checked(b"content-length:".len())?;
    let is_it = name.eq_ignore_ascii_case(b"content-length:");
    std::str::from_utf8(value).ok().filter(|_| is_it)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_all_that_it_says_it_has() {
        for (read, expect) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx: y\r\n\r\nok", true),
            ("HTTP/1.0 200 OK\ncontent-length:2\n\nok", true),
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", false),
            ("HTTP/1.1 200 OK\r\n\r\nok", false),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", false),
            ("ok", false),
            ("", false),
        ] {
            assert_eq!(is_whole(read.as_bytes()), expect, "{read:?}");
        }
    }
}
