//! The bytes of one layer, out of their frames.

use std::io::{self, Read, Stdin};

use super::protocol;

/// A layer's bytes, as they come.
#[derive(Debug)]
pub(super) struct Layer {
    input: Stdin,
    frame_left: usize,
    is_over: bool,
    bytes: u64,
}

impl Layer {
    pub fn new(input: Stdin) -> Self {
        Self { input, frame_left: 0, is_over: false, bytes: 0 }
    }

    /// How many there were until now.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What comes after the layer.
    pub fn end(mut self) -> io::Result<Stdin> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.input)
    }
}

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.frame_left == 0 && !self.is_over {
            let length = protocol::read_length(&mut self.input)?;
            self.frame_left = length.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.is_over = self.frame_left == 0;
        }
        let wanted = buffer.len().min(self.frame_left);
        if wanted == 0 {
            return Ok(0);
        }
        let got = self.input.read(&mut buffer[..wanted])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.frame_left -= got;
        self.bytes += got as u64;
        Ok(got)
    }
}
