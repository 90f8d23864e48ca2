//! What a process is told, on its way from the node.

use std::io;
use std::os::fd::OwnedFd;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

use crate::connection::stream::Stream;

/// The write end of the pipe that a process reads from.
pub struct Input {
    pipe: Option<pipe::Sender>,
    /// What has come and is not written yet.
    held: Bytes,
    /// Nothing comes after what is held.
    is_ended: bool,
}

impl Input {
    /// The input that goes through `pipe`; without one, all of it is thrown away. Must run in the event loop.
    pub fn new(pipe: Option<OwnedFd>) -> io::Result<Self> {
        let pipe = pipe.map(pipe::Sender::from_owned_fd).transpose()?;
        Ok(Self { pipe, held: Bytes::new(), is_ended: false })
    }

    /// Whether more may come.
    pub fn is_open(&self) -> bool {
        self.pipe.is_some() && !self.is_ended
    }

    /// Writes what the node sends until its Eof, then closes the pipe. Given up anywhere, it goes on there.
    ///
    /// A process that has stopped reading is no failure; what was meant for it is thrown away.
    pub async fn feed(&mut self, stream: &Stream) {
        self.write_held().await;
        while !self.is_ended {
            let Some(bytes) = stream.received().await else {
                self.is_ended = true;
                break;
            };
            let taken = bytes.len();
            self.held = bytes;
            self.write_held().await;
            stream.used_up(taken).await;
        }
        self.pipe = None;
    }

    /// The stream ends here: holds what has come through it.
    pub fn part(&mut self, stream: &Stream) {
        let (rest, is_ended) = stream.received_rest();
        self.is_ended |= is_ended;
        if self.held.is_empty() {
            self.held = rest;
        } else if !rest.is_empty() {
            let mut held = BytesMut::from(&self.held[..]);
            held.extend_from_slice(&rest);
            self.held = held.freeze();
        }
    }

    /// Nobody feeds it any more. What is held is written; the pipe is closed only if that was said.
    pub async fn leave(&mut self) {
        self.write_held().await;
        if self.is_ended {
            self.pipe = None;
        }
    }

    async fn write_held(&mut self) {
        while let Some(pipe) = &mut self.pipe
            && !self.held.is_empty()
        {
            match pipe.write(&self.held).await {
                Ok(length) if length > 0 => self.held.advance(length),
                _ => self.pipe = None,
            }
        }
        self.held = Bytes::new();
    }
}
