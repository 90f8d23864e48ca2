//! Layers on this disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::JoinHandle;
use wire::image::Digest;

use crate::oci::failure::{Pulled, disk, internal, invalid};

/// Bytes read at a time.
const CHUNK_BYTES: u64 = 256 * 1024;

/// A layer, as a part of a file.
#[derive(Debug, Clone)]
pub(crate) struct LocalLayer {
    name: String,
    file: Arc<File>,
    offset: u64,
    size_bytes: u64,
    digest: Option<Digest>,
    done: Arc<AtomicU64>,
}

impl LocalLayer {
    pub(super) fn new(
        name: String,
        file: File,
        offset: u64,
        size_bytes: u64,
        digest: Option<Digest>,
    ) -> Self {
        Self { name, file: Arc::new(file), offset, size_bytes, digest, done: Arc::default() }
    }

    /// Bytes that were read so far.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Its bytes, which must be what its digest says.
    pub(crate) fn read(&self) -> Checked {
        self.done.store(0, Ordering::Relaxed);
        Checked { layer: self.clone(), at: 0, chunk: vec![], taken: 0, reading: None, hash: Sha256::new() }
    }
}

/// A layer being read. Its end is an error if it is not what it should be.
pub(crate) struct Checked {
    layer: LocalLayer,
    /// Bytes that were asked of the disk.
    at: u64,
    chunk: Vec<u8>,
    taken: usize,
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
    hash: Sha256,
}

impl AsyncRead for Checked {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.taken == this.chunk.len() {
            if this.at == this.layer.size_bytes {
                return Poll::Ready(this.check());
            }
            let chunk = ready!(this.poll_chunk(cx))?;
            this.hash.update(&chunk);
            this.at += chunk.len() as u64;
            (this.chunk, this.taken) = (chunk, 0);
        }
        let length = buf.remaining().min(this.chunk.len() - this.taken);
        buf.put_slice(&this.chunk[this.taken..this.taken + length]);
        this.taken += length;
        this.layer.done.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl Checked {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let reading = self.reading.get_or_insert_with(|| {
            let (file, offset) = (self.layer.file.clone(), self.layer.offset + self.at);
            let length = (self.layer.size_bytes - self.at).min(CHUNK_BYTES) as usize;
            tokio::task::spawn_blocking(move || {
                let mut chunk = vec![0; length];
                file.read_exact_at(&mut chunk, offset)?;
                Ok(chunk)
            })
        });
        let chunk = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(chunk.map_err(io::Error::other)?.map_err(|error| self.failed(&error)))
    }

    fn failed(&self, error: &io::Error) -> io::Error {
        let name = &self.layer.name;
        io::Error::other(match error.kind() {
            io::ErrorKind::UnexpectedEof => invalid(format!("{name} is shorter than it should be")),
            _ => disk(&format!("read {name}"), error),
        })
    }

    fn check(&self) -> io::Result<()> {
        let came = Digest::from_sha256(self.hash.clone().finalize().into());
        if self.layer.digest.as_ref().is_none_or(|digest| *digest == came) {
            return Ok(());
        }
        Err(io::Error::other(invalid(format!("{} has other content than its name says", self.layer.name))))
    }
}

/// Runs file work where it does not hold up the rest of the node.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Pulled<T> + Send + 'static,
) -> Pulled<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| internal(error.to_string()))?
}
