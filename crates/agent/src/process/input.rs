//! What a process is told, on its way from the node.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

use crate::connection::stream::Stream;

/// The write end of the pipe that a process reads from.
pub struct Input(Option<pipe::Sender>);

impl Input {
    /// The input that goes through `pipe`; without one, all of it is thrown away. Must run in the event loop.
    pub fn new(pipe: Option<OwnedFd>) -> io::Result<Self> {
        pipe.map(pipe::Sender::from_owned_fd).transpose().map(Self)
    }

    /// Writes what the node sends until its Eof, then closes the pipe.
    ///
    /// A process that has stopped reading is no failure; what was meant for it is thrown away.
    pub async fn feed(&mut self, stream: &Stream) {
        while let Some(bytes) = stream.received().await {
            let is_read = match &mut self.0 {
                Some(pipe) => pipe.write_all(&bytes).await.is_ok(),
                None => false,
            };
            if !is_read {
                self.0 = None;
            }
            stream.used_up(bytes.len()).await;
        }
        self.0 = None;
    }
}
