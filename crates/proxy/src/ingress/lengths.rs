//! Sees which requests of a connection of HTTP/1.1 say twice how long they are, by `content-length` and by
//! `transfer-encoding`: hyper heeds the second and forgets the first, but who sent them on to us may have heeded the first.
//!
//! It follows the bytes as hyper reads them, and where requests begin is hyper's to say: whatever is not understood here
//! is as hyper has it, and nothing is kept but a line's beginning.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is kept of a line, in bytes: a name of interest, and the longest length with room around it.
const LINE_BYTES_MAX: usize = 64;
const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";

/// What has been seen of a connection's requests, in the order in which they are answered.
#[derive(Debug, Clone, Default)]
pub struct Lengths(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    scan: Scan,
    answered: u64,
}

impl Lengths {
    /// Whether the next request says twice how long it is; asked once for each.
    pub fn next_has_two(&self) -> bool {
        let mut counted = self.lock();
        counted.answered += 1;
        counted.scan.with_two == Some(counted.answered)
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of which what is read is seen.
pub struct Seen<S> {
    /// What has been read of it already.
    read: Bytes,
    stream: S,
    lengths: Lengths,
}

impl<S> Seen<S> {
    /// `stream`, of which this has been `read`, and what is seen of both.
    pub fn new(stream: S, read: Bytes) -> (Self, Lengths) {
        let lengths = Lengths::default();
        (Self { read, stream, lengths: lengths.clone() }, lengths)
    }
}

/// Where a scan is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between requests.
    #[default]
    Start,
    /// In the lines of a head.
    Head,
    /// In a body, of which so many bytes are left.
    Body(u64),
    /// At the line with a chunk's size.
    Size,
    /// In a chunk, of which so many bytes are left.
    Chunk(u64),
    /// At the end of a chunk's line.
    ChunkEnd,
    /// In the lines after the last chunk.
    Trailers,
    /// Where it understands no more, or there is no more to see.
    Lost,
}

#[derive(Debug, Default)]
struct Scan {
    at: At,
    line: Vec<u8>,
    length: Option<u64>,
    has_encoding: bool,
    requests: u64,
    /// The number of the first request that says it twice; hyper answers none after it.
    with_two: Option<u64>,
}

impl Scan {
    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.at {
                At::Lost => return,
                At::Body(left) => self.skip(bytes, left, At::Body, At::Start),
                At::Chunk(left) => self.skip(bytes, left, At::Chunk, At::ChunkEnd),
                _ => self.read_line(bytes),
            };
        }
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, within: fn(u64) -> At, after: At) -> &'a [u8] {
        let skipped = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - skipped as u64;
        self.at = if left == 0 { after } else { within(left) };
        &bytes[skipped..]
    }

    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let room = LINE_BYTES_MAX - self.line.len();
        self.line.extend_from_slice(&part[..room.min(part.len())]);
        let Some(end) = end else { return &[] };
        let mut line = std::mem::take(&mut self.line);
        self.at = self.after(line.strip_suffix(b"\r").unwrap_or(&line));
        // Its room is for the next.
        line.clear();
        self.line = line;
        &bytes[end + 1..]
    }

    fn after(&mut self, line: &[u8]) -> At {
        match self.at {
            At::Start if line.is_empty() => At::Start,
            At::Start => At::Head,
            At::Head if line.is_empty() => self.after_head(),
            At::Head => self.after_header(line),
            At::Size => match chunk_size(line) {
                Some(0) => At::Trailers,
                Some(size) => At::Chunk(size),
                None => At::Lost,
            },
            At::ChunkEnd if line.is_empty() => At::Size,
            At::Trailers if line.is_empty() => At::Start,
            At::Trailers => At::Trailers,
            At::ChunkEnd | At::Body(_) | At::Chunk(_) | At::Lost => At::Lost,
        }
    }

    fn after_header(&mut self, line: &[u8]) -> At {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return At::Head };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(TRANSFER_ENCODING) {
            self.has_encoding = true;
        } else if name.eq_ignore_ascii_case(CONTENT_LENGTH) {
            let length = number(value, 10).filter(|_| line.len() < LINE_BYTES_MAX);
            // Hyper refuses what is none; beside an encoding, anything is a second length.
            self.length = length.or(Some(u64::MAX));
        }
        At::Head
    }

    fn after_head(&mut self) -> At {
        self.requests += 1;
        match (self.length.take(), std::mem::take(&mut self.has_encoding)) {
            (Some(_), true) => {
                self.with_two = Some(self.requests);
                At::Lost
            }
            (None, true) => At::Size,
            (Some(0) | None, false) => At::Start,
            (Some(length), false) => At::Body(length),
        }
    }
}

/// The number before what a chunk's size may be followed by.
fn chunk_size(line: &[u8]) -> Option<u64> {
    number(line.split(|byte| *byte == b';').next()?.trim_ascii(), 16)
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

impl<S: AsyncRead + Unpin> AsyncRead for Seen<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.read.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        } else {
            let most = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read.split_to(most));
        }
        self.lengths.lock().scan.see(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Seen<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A request that says once how long it is, in one of the ways there are.
    fn whole() -> impl Strategy<Value = String> {
        let body = "[a-zA-Z0-9:; \r\n-]{0,40}";
        prop_oneof![
            Just("GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
            Just("\r\nPOST /content-length: HTTP/1.1\nx-transfer-encoding: 1\n\n".to_owned()),
            body.prop_map(|body| format!("POST / HTTP/1.1\r\nContent-Length:{}\r\n\r\n{body}", body.len())),
            prop::collection::vec("[a-zA-Z0-9:; \r\n-]{1,20}", 0..4).prop_map(|chunks| {
                let chunks = chunks.iter().map(|chunk| format!("{:X} ;x=1\r\n{chunk}\r\n", chunk.len()));
                let chunks: String = chunks.collect();
                format!("PUT / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n{chunks}0\r\ncontent-length: 1\r\n\r\n")
            }),
        ]
    }

    const TWO: [&str; 3] = [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "Transfer-Encoding:chunked\r\nx: y\r\nCONTENT-LENGTH:0\r\n",
        "content-length: +\r\ntransfer-encoding: chunked\r\n",
    ];

    /// The number of the first request that has two lengths, as it is seen when bytes come so many at a time.
    fn seen(bytes: &[u8], at_once: usize) -> Option<u64> {
        let mut scan = Scan::default();
        bytes.chunks(at_once).for_each(|piece| scan.see(piece));
        scan.with_two
    }

    proptest! {
        #[test]
        fn the_first_with_two_lengths_is_found_wherever_it_comes(
            before in prop::collection::vec(whole(), 0..5),
            two in prop::option::of(prop::sample::select(&TWO[..])),
            at_once in 1usize..100,
        ) {
            let mut sent = before.concat();
            sent.extend(two.map(|headers| format!("POST / HTTP/1.1\r\n{headers}\r\n0\r\n\r\n")));
            let number = before.len() as u64 + 1;
            prop_assert_eq!(seen(sent.as_bytes(), at_once), two.map(|_| number), "{:?}", sent);
        }

        #[test]
        fn no_bytes_are_too_many_or_too_odd(bytes: Vec<u8>, at_once in 1usize..100) {
            seen(&bytes, at_once);
        }
    }

    #[test]
    fn the_line_that_is_kept_is_short() {
        let mut scan = Scan::default();
        scan.see(b"GET /");
        scan.see(&[b'x'; 100_000]);
        assert_eq!(scan.line.len(), LINE_BYTES_MAX);
    }
}
