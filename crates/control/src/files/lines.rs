//! Lines of JSON that an agent says.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A line, in bytes, at most: room for two of the longest paths and the longest line of a file, escaped.
const LINE_BYTES_MAX: usize = 256 * 1024;

const _: () = assert!(wire::guest::watch::LINE_BYTES_MAX < LINE_BYTES_MAX);

/// Lines, as their bytes arrive.
#[derive(Default)]
pub struct Lines(BytesMut);

impl Lines {
    /// More bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Whether no line has begun.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next line, without its end.
    pub fn next_line(&mut self) -> Result<Option<Bytes>> {
        match memchr(b'\n', &self.0) {
            Some(end) => {
                let line = self.0.split_to(end).freeze();
                self.0.advance(1);
                Ok(Some(line))
            }
            None if self.0.len() > LINE_BYTES_MAX => {
                Err(Error::Broken("the agent says too long a line".into()))
            }
            None => Ok(None),
        }
    }
}

/// What a line says.
pub fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| Error::Broken(error.into()))
}
