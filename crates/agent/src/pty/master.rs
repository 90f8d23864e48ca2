//! Our end of a terminal, in the event loop.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::pair;
use super::screen::Size;

/// Bytes read at once; what is there is taken together, and nothing waits for more.
const READ_BYTES: usize = 16 * 1024;

/// Our end.
pub struct Master(AsyncFd<OwnedFd>);

impl Master {
    /// Must run in the event loop.
    pub fn new(ours: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is the same descriptor all its life, and is closed only with the `AsyncFd` around it.
        let registered = unsafe { AsyncFd::register(ours) };
        Ok(Self(registered?))
    }

    /// Waits for something to be written, and takes it; `None` when nobody holds the other end any more.
    pub async fn read(&self) -> Option<Bytes> {
        self.0.async_io(Interest::READABLE, read).await.ok().filter(|bytes| !bytes.is_empty())
    }

    /// Takes what is there; `None` if nothing is.
    pub fn read_now(&self) -> Option<Bytes> {
        read(self.0.get_ref()).ok().filter(|bytes| !bytes.is_empty())
    }

    /// Types these bytes, as fast as they are read. False if nobody reads any more.
    pub async fn write(&self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let write = |fd: &OwnedFd| Ok(rustix::io::write(fd, bytes)?);
            match self.0.async_io(Interest::WRITABLE, write).await {
                Ok(written) => bytes = &bytes[written..],
                Err(_) => return false,
            }
        }
        true
    }

    /// Changes the size. Whether the programs in front of it could be told: not every engine says who they are.
    pub fn resize(&self, size: Size) -> io::Result<bool> {
        pair::set_size(self.0.get_ref(), size)?;
        let Ok(group) = rustix::termios::tcgetpgrp(self.0.get_ref()) else { return Ok(false) };
        // Not every engine tells them itself. Gone already: nobody needs to know.
        let _ = rustix::process::kill_process_group(group, Signal::WINCH);
        Ok(true)
    }
}

/// Reads until nothing is there or the buffer is full. At the end of a terminal the kernel says `EIO`.
fn read(fd: &OwnedFd) -> io::Result<Bytes> {
    let mut buffer = [0; READ_BYTES];
    let mut filled = 0;
    while filled < READ_BYTES {
        match rustix::io::read(fd, &mut buffer[filled..]).map_err(io::Error::from) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Bytes::copy_from_slice(&buffer[..filled]))
}
