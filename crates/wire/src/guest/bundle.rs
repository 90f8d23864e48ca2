//! Several files as one sequence of bytes, sent as they are read: sizes need not be known ahead.
//!
//! ```text
//! bundle = file*
//! file   = header piece* end
//! header = length, FileHeader as JSON       length: 4 bytes, big-endian, 1 to HEADER_BYTES_MAX
//! piece  = length, bytes                    length: 4 bytes, big-endian, 1 to PIECE_BYTES_MAX
//! end    = 0 as 4 bytes
//! ```
//!
//! A sequence that stops anywhere but after an `end` is broken.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// A [`FileHeader`] as JSON, in bytes, at most: room for the longest path, escaped.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// A piece of a file, in bytes, at most.
pub const PIECE_BYTES_MAX: usize = 64 * 1024;

const LENGTH_BYTES: usize = 4;

const _: () = assert!(crate::sandbox::limits::PATH_BYTES_MAX * 6 < HEADER_BYTES_MAX);

/// What precedes a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHeader {
    /// Its path, as it was asked for.
    pub path: String,
    /// Permission bits, where they matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// A part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A file begins.
    File(FileHeader),
    /// Bytes of it.
    Piece(Bytes),
    /// It has ended.
    End,
}

/// Why bytes are not a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A header or piece is longer than allowed, or a header is empty.
    #[error("a bundle says that {0} bytes come next")]
    Length(usize),
    /// A header that is none.
    #[error("a bundle has a header that is none: {0}")]
    Header(String),
}

/// Appends a part to `out`. A piece longer than [`PIECE_BYTES_MAX`] becomes several; an empty one nothing.
pub fn encode(part: &Part, out: &mut BytesMut) {
    match part {
        Part::File(header) => {
            // A header is plain data: it always has a JSON form.
            let json = serde_json::to_vec(header).unwrap_or_default();
            put(&json, out);
        }
        Part::Piece(bytes) => bytes.chunks(PIECE_BYTES_MAX).for_each(|piece| put(piece, out)),
        Part::End => out.put_u32(0),
    }
}

fn put(bytes: &[u8], out: &mut BytesMut) {
    out.reserve(LENGTH_BYTES + bytes.len());
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

/// Takes a bundle apart as its bytes arrive.
#[derive(Debug, Default)]
pub struct Decoder {
    input: BytesMut,
    inside: bool,
}

impl Decoder {
    /// More of the bundle.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next part, or `None` until all of it has arrived.
    ///
    /// # Errors
    /// [`Malformed`]; nothing after it makes sense.
    pub fn next_part(&mut self) -> Result<Option<Part>, Malformed> {
        let Some(length) = self.input.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        let fits = match self.inside {
            true => length <= PIECE_BYTES_MAX,
            false => (1..=HEADER_BYTES_MAX).contains(&length),
        };
        if !fits {
            return Err(Malformed::Length(length));
        }
        if self.input.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.input.advance(LENGTH_BYTES);
        self.part(length).map(Some)
    }

    /// Whether the bundle may end here.
    pub fn is_complete(&self) -> bool {
        !self.inside && self.input.is_empty()
    }

    fn part(&mut self, length: usize) -> Result<Part, Malformed> {
        let bytes = self.input.split_to(length).freeze();
        if self.inside {
            self.inside = length > 0;
            return Ok(if length > 0 { Part::Piece(bytes) } else { Part::End });
        }
        self.inside = true;
        let header = serde_json::from_slice(&bytes);
        header.map(Part::File).map_err(|error| Malformed::Header(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_file() -> impl Strategy<Value = (FileHeader, Vec<Vec<u8>>)> {
        let pieces = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..4);
        let header = ("[a-z/]{1,20}", prop::option::of(0u32..0o7777));
        (header.prop_map(|(path, mode)| FileHeader { path, mode }), pieces)
    }

    proptest! {
        #[test]
        fn files_arrive_as_sent_however_the_bytes_are_cut(
            files in prop::collection::vec(any_file(), 0..4),
            cut in 1usize..500,
        ) {
            let mut parts = Vec::new();
            for (header, pieces) in files {
                parts.push(Part::File(header));
                parts.extend(pieces.into_iter().map(|piece| Part::Piece(piece.into())));
                parts.push(Part::End);
            }
            let mut sent = BytesMut::new();
            parts.iter().for_each(|part| encode(part, &mut sent));
            let (mut decoder, mut arrived) = (Decoder::default(), Vec::new());
            for bytes in sent.chunks(cut) {
                decoder.feed(bytes);
                while let Some(part) = decoder.next_part().unwrap() {
                    arrived.push(part);
                }
            }
            prop_assert!(decoder.is_complete());
            prop_assert_eq!(arrived, parts);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let mut decoder = Decoder::default();
            decoder.feed(&bytes);
            while let Ok(Some(_)) = decoder.next_part() {}
        }
    }

    #[test]
    fn a_bundle_that_stops_in_a_file_is_not_complete() {
        let (mut decoder, mut bytes) = (Decoder::default(), BytesMut::new());
        encode(&Part::File(FileHeader { path: "a".into(), mode: None }), &mut bytes);
        decoder.feed(&bytes);
        assert!(matches!(decoder.next_part(), Ok(Some(Part::File(_)))));
        assert!(!decoder.is_complete());
        decoder.feed(&u32::MAX.to_be_bytes());
        assert_eq!(decoder.next_part(), Err(Malformed::Length(u32::MAX as usize)));
    }
}
