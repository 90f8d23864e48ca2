//! Bodies of answers: where they end as apps send them, and as clients get them. Pure.

use std::fmt::Write;

use bytes::{Buf, BytesMut};

/// The line of a chunk's size, with what may follow the size, in bytes.
const SIZE_LINE_BYTES_MAX: usize = 256;
/// The lines after the last chunk, in bytes. They are for whoever said that it takes them, which no plain request does.
const TRAILERS_BYTES_MAX: usize = 16 * 1024;
/// Pieces of up to so many bytes are copied to others before them, and larger ones are handed on.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// What is left of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, from here on (RFC 9112, 7.1).
    Chunked(At),
    /// What comes until the app closes the connection.
    ToEnd,
}

/// Where something chunked is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Before the line with a chunk's size.
    Size,
    /// In a chunk, of which so many bytes are left.
    Data(u64),
    /// Before the end of a chunk's last line.
    DataEnd,
    /// After the last chunk, of whose trailers so many bytes have come.
    Trailers(usize),
}

/// What an app sent is no body.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a body is not chunked as it should be, or breaks off")]
pub struct Malformed;

impl Body {
    /// One in chunks, at its beginning.
    pub fn chunked() -> Self {
        Self::Chunked(At::Size)
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }

    /// Takes what has come of it, and adds it to `out` as the client gets it.
    ///
    /// # Errors
    /// When it is no body.
    pub fn carry(&mut self, came: &mut BytesMut, out: &mut BytesMut) -> Result<(), Malformed> {
        match self {
            Self::None => {}
            Self::Length(left) => hand_on(came, left, out),
            Self::ToEnd => chunk(came, &mut { u64::MAX }, out),
            Self::Chunked(_) => while !came.is_empty() && self.step(came, out)? {},
        }
        Ok(())
    }

    /// The app has closed the connection.
    ///
    /// # Errors
    /// When that was too early.
    pub fn end(&mut self, out: &mut BytesMut) -> Result<(), Malformed> {
        let is_end = *self == Self::ToEnd;
        if is_end {
            self.last_chunk(out);
        }
        if is_end { Ok(()) } else { Err(Malformed) }
    }

    /// Goes on in something chunked; whether it could.
    fn step(&mut self, came: &mut BytesMut, out: &mut BytesMut) -> Result<bool, Malformed> {
        let Self::Chunked(at) = self else { return Ok(false) };
        match at {
            At::Data(left) => {
                chunk(came, left, out);
                if *left == 0 {
                    *at = At::DataEnd;
                }
            }
            At::Size => {
                let Some(line) = line(came, SIZE_LINE_BYTES_MAX)? else { return Ok(false) };
                *at = match size(&line)? {
                    0 => At::Trailers(0),
                    size => At::Data(size),
                };
            }
            At::DataEnd => {
                let Some(line) = line(came, 0)? else { return Ok(false) };
                debug_assert!(line.is_empty());
                *at = At::Size;
            }
            At::Trailers(bytes) => {
                let Some(line) = line(came, TRAILERS_BYTES_MAX - *bytes)? else { return Ok(false) };
                *bytes += line.len();
                if line.is_empty() {
                    self.last_chunk(out);
                }
            }
        }
        Ok(true)
    }

    fn last_chunk(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"0\r\n\r\n");
        *self = Self::None;
    }
}

/// Moves up to `left` bytes, and counts them off.
fn hand_on(came: &mut BytesMut, left: &mut u64, out: &mut BytesMut) {
    let bytes = usize::try_from(*left).map_or(came.len(), |left| left.min(came.len()));
    *left -= bytes as u64;
    if out.is_empty() && bytes > COPIED_BYTES_MAX {
        *out = came.split_to(bytes);
    } else {
        out.extend_from_slice(&came[..bytes]);
        came.advance(bytes);
    }
}

/// Moves up to `left` bytes as a chunk, and counts them off.
fn chunk(came: &mut BytesMut, left: &mut u64, out: &mut BytesMut) {
    let bytes = usize::try_from(*left).map_or(came.len(), |left| left.min(came.len()));
    if bytes > 0 {
        // A buffer takes what there is memory for.
        let _ = write!(out, "{bytes:x}\r\n");
        out.extend_from_slice(&came[..bytes]);
        out.extend_from_slice(b"\r\n");
        came.advance(bytes);
        *left -= bytes as u64;
    }
}

/// The next line, without its end, when all of it has come.
fn line(came: &mut BytesMut, bytes_max: usize) -> Result<Option<BytesMut>, Malformed> {
    let end = came.iter().take(bytes_max + 2).position(|byte| *byte == b'\n');
    let Some(end) = end else {
        return if came.len() > bytes_max + 1 { Err(Malformed) } else { Ok(None) };
    };
    let line = came.split_to(end + 1);
    match line.strip_suffix(b"\r\n") {
        Some(text) => Ok(Some(BytesMut::from(text))),
        None => Err(Malformed),
    }
}

/// A chunk's size; what follows it says nothing about where it ends.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number);
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a client gets when an app sends these bytes, so many at a time, and then nothing; and what is left of them.
    fn carried(mut body: Body, sent: &[u8], at_once: usize) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
        let (mut came, mut all) = (BytesMut::new(), Vec::new());
        for piece in sent.chunks(at_once) {
            let mut out = BytesMut::new();
            came.extend_from_slice(piece);
            body.carry(&mut came, &mut out)?;
            all.extend_from_slice(&out);
        }
        let mut out = BytesMut::new();
        if !body.is_done() {
            body.end(&mut out)?;
        }
        all.extend_from_slice(&out);
        Ok((all, came.to_vec()))
    }

    /// What was in chunks.
    fn joined(chunked: &[u8]) -> Vec<u8> {
        let (mut rest, mut all) = (chunked, Vec::new());
        loop {
            let end = rest.windows(2).position(|it| it == b"\r\n").unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
            let data = &rest[end + 2..];
            all.extend_from_slice(&data[..size]);
            assert_eq!(&data[size..size + 2], b"\r\n");
            rest = &data[size + 2..];
            if size == 0 {
                assert!(rest.is_empty());
                return all;
            }
        }
    }

    fn in_chunks(pieces: &[Vec<u8>], end: &str) -> Vec<u8> {
        let mut sent = Vec::new();
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            sent.extend_from_slice(format!("{:X} ;x=\"y\"\r\n", piece.len()).as_bytes());
            sent.extend_from_slice(piece);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(end.as_bytes());
        sent
    }

    proptest! {
        #[test]
        fn whatever_pieces_it_comes_in_a_body_is_the_same(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6000), 0..5),
            trailers in prop::sample::select(vec!["", "x: y\r\n", "x: y\r\nz: 1\r\n"]),
            more in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n"]),
            at_once in 1usize..9000,
        ) {
            let body = pieces.concat();
            let sent = in_chunks(&pieces, &format!("000\r\n{trailers}\r\n{more}"));
            let (got, left) = carried(Body::chunked(), &sent, at_once).unwrap();
            prop_assert_eq!(joined(&got), &body[..]);
            prop_assert_eq!(left, more.as_bytes());
            let sent = [&body[..], more.as_bytes()].concat();
            let (got, left) = carried(Body::Length(body.len() as u64), &sent, at_once).unwrap();
            prop_assert_eq!((&got[..], &left[..]), (&body[..], more.as_bytes()));
            prop_assert_eq!(joined(&carried(Body::ToEnd, &body, at_once).unwrap().0), body);
        }

        #[test]
        fn no_bytes_are_too_many_or_too_odd(sent: Vec<u8>, at_once in 1usize..100) {
            if let Ok((got, _)) = carried(Body::chunked(), &sent, at_once) {
                joined(&got);
            }
        }

        #[test]
        fn a_body_that_breaks_off_is_none(cut in 0usize..24) {
            let sent = b"5\r\nhello\r\n0\r\nx: y\r\n\r\n";
            prop_assert_eq!(carried(Body::chunked(), &sent[..cut.min(sent.len() - 1)], 7), Err(Malformed));
            prop_assert_eq!(carried(Body::Length(24), &vec![0; cut.min(23)], 7), Err(Malformed));
        }
    }

    #[test]
    fn what_is_not_chunked_as_it_should_be_is_none() {
        let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(SIZE_LINE_BYTES_MAX));
        let many = format!("0\r\n{}\r\n", "x: y\r\n".repeat(TRAILERS_BYTES_MAX / 4 + 1));
        for sent in [
            "\r\n",
            "x\r\n",
            "+1\r\na\r\n0\r\n\r\n",
            "0x1\r\na\r\n0\r\n\r\n",
            " 1\r\na\r\n0\r\n\r\n",
            "1\na\r\n0\r\n\r\n",
            "1\r\nab\r\n0\r\n\r\n",
            "1\r\na\n0\r\n\r\n",
            "10000000000000000\r\na",
            &long,
            &many,
        ] {
            assert_eq!(carried(Body::chunked(), sent.as_bytes(), 5), Err(Malformed), "{sent:?}");
        }
    }
}
