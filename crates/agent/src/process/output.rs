//! What a process says, on its way to the node, or to be kept.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use bytes::Bytes;
use tokio::net::unix::pipe;
use wire::guest::frame::{Channel, DATA_BYTES_MAX};

use super::kept::Kept;
use crate::connection::stream::Stream;

thread_local! {
    /// Where all pipes are read into, one after the other: the event loop is one thread.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; DATA_BYTES_MAX]);
}

/// The read end of a pipe that a process writes to.
pub struct Output {
    pipe: pipe::Receiver,
    channel: Channel,
    is_at_end: bool,
}

/// What one read found.
enum Read {
    Some(Bytes),
    /// Nothing now.
    Nothing,
    /// Nothing ever again.
    End,
}

impl Output {
    /// The output that arrives through `pipe`. Must run in the event loop.
    pub fn new(pipe: OwnedFd, channel: Channel) -> io::Result<Self> {
        Ok(Self { pipe: pipe::Receiver::from_owned_fd(pipe)?, channel, is_at_end: false })
    }

    /// Sends what is written, as credit allows, until nobody can write any more or the connection is broken.
    ///
    /// Nothing is read before it may be sent: so a slow node stops the process, not the agent, and dropping this future
    /// between two reads loses nothing.
    pub async fn relay(&mut self, stream: &Stream) {
        while !self.is_at_end {
            let (true, Some(leave)) = (self.pipe.readable().await.is_ok(), stream.leave().await) else {
                return;
            };
            match self.read(leave.bytes_max) {
                Read::Some(bytes) => leave.send(self.channel, bytes),
                Read::Nothing => {}
                Read::End => self.is_at_end = true,
            }
        }
    }

    /// Sends what is in the pipe at this moment.
    pub async fn drain(&mut self, stream: &Stream) {
        let mut left = rustix::io::ioctl_fionread(&self.pipe).unwrap_or(0);
        while left > 0 {
            let Some(leave) = stream.leave().await else { return };
            let Read::Some(bytes) = self.read_at_once(left.min(leave.bytes_max as u64)) else { return };
            left -= bytes.len() as u64;
            leave.send(self.channel, bytes);
        }
    }

    /// Keeps what is written, as there is room.
    pub async fn keep(&mut self, kept: &Kept) {
        while !self.is_at_end && self.pipe.readable().await.is_ok() {
            kept.room().await;
            match self.read(DATA_BYTES_MAX) {
                Read::Some(bytes) => kept.push(self.channel, &bytes),
                Read::Nothing => {}
                Read::End => self.is_at_end = true,
            }
        }
    }

    /// Keeps what is in the pipe at this moment, room or not: it is no more than a pipe holds.
    pub fn keep_rest(&mut self, kept: &Kept) {
        let mut left = rustix::io::ioctl_fionread(&self.pipe).unwrap_or(0);
        while left > 0 {
            let Read::Some(bytes) = self.read_at_once(left) else { return };
            left -= bytes.len() as u64;
            kept.push(self.channel, &bytes);
        }
    }

    /// Throws away what is still written, until nobody can write any more: a process left behind must neither die of a
    /// closed pipe nor stop at a full one.
    pub async fn discard(mut self) {
        while !self.is_at_end && self.pipe.readable().await.is_ok() {
            if let Read::End = self.read(DATA_BYTES_MAX) {
                self.is_at_end = true;
            }
        }
    }

    /// Past the event loop, which may not have noticed yet that something is there.
    fn read_at_once(&self, bytes_max: u64) -> Read {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        read_with(bytes_max, |buffer| Ok(rustix::io::read(&self.pipe, buffer)?))
    }

    fn read(&self, bytes_max: usize) -> Read {
        read_with(bytes_max, |buffer| self.pipe.try_read(buffer))
    }
}

fn read_with(bytes_max: usize, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> Read {
    SCRATCH.with_borrow_mut(|scratch| match read(&mut scratch[..bytes_max.min(DATA_BYTES_MAX)]) {
        Ok(0) => Read::End,
        Ok(length) => Read::Some(Bytes::copy_from_slice(&scratch[..length])),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Read::Nothing,
        Err(_) => Read::End,
    })
}
