//! A stream of JSON lines.

use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::NodeFailure;

/// One line, in bytes, at most.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// JSON lines, each a `T`.
pub struct Lines<T> {
    body: Incoming,
    buffer: BytesMut,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The lines of this body.
    pub fn new(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new(), kind: PhantomData }
    }

    /// The next one; `None` when the node has ended the stream.
    pub async fn next(&mut self) -> Result<Option<T>, NodeFailure> {
        loop {
            if let Some(line) = take_line(&mut self.buffer) {
                return serde_json::from_slice(&line).map(Some).map_err(NodeFailure::malformed);
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(NodeFailure::malformed(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(NodeFailure::malformed("the last line is not complete")),
                Some(frame) => self.take(frame.map_err(NodeFailure::unreachable)?),
            }
        }
    }

    fn take(&mut self, frame: http_body::Frame<Bytes>) {
        if let Ok(data) = frame.into_data() {
            self.buffer.extend_from_slice(&data);
        }
    }
}

/// Takes the first line that is not empty off the buffer, once all of it is there.
fn take_line(buffer: &mut BytesMut) -> Option<BytesMut> {
    loop {
        let end = buffer.iter().position(|&byte| byte == b'\n')?;
        let line = buffer.split_to(end + 1);
        if !line.trim_ascii().is_empty() {
            return Some(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_whole_and_empty_ones_skipped() {
        let mut buffer = BytesMut::from(&b"\n{}\n \n[1]\npart"[..]);
        assert_eq!(take_line(&mut buffer).unwrap(), &b"{}\n"[..]);
        assert_eq!(take_line(&mut buffer).unwrap(), &b"[1]\n"[..]);
        assert_eq!(take_line(&mut buffer), None);
        assert_eq!(buffer, &b"part"[..]);
    }
}
