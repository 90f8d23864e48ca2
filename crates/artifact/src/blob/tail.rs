//! Reading a layer while it comes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;

use super::flight::{Flight, Progress};

/// Bytes read at a time.
const CHUNK_BYTES: u64 = 256 * 1024;

/// The bytes of a layer, from its first. Ends when all have come and are what they should be.
pub(crate) struct Tail {
    flight: Arc<Flight>,
    place: Place,
    chunk: Vec<u8>,
    taken: usize,
    reading: Option<Reading>,
}

type Reading = Pin<Box<dyn Future<Output = (io::Result<Vec<u8>>, Place)> + Send>>;

/// Where a reader is.
struct Place {
    progress: watch::Receiver<Progress>,
    offset: u64,
    epoch: u32,
}

impl Tail {
    pub(crate) fn new(flight: Arc<Flight>) -> Self {
        let progress = flight.watch();
        let place = Place { progress, offset: 0, epoch: 0 };
        Self { flight, place, chunk: vec![], taken: 0, reading: None }
    }

    /// Whether what was read turned out to be wrong, and other bytes come in its place.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.flight.watch().borrow().epoch != 0
    }
}

impl AsyncRead for Tail {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.taken == this.chunk.len() {
            let reading = this.reading.get_or_insert_with(|| {
                let progress = this.place.progress.clone();
                Box::pin(Place { progress, ..this.place }.next())
            });
            let (chunk, place) = ready!(reading.as_mut().poll(cx));
            this.reading = None;
            (this.chunk, this.taken, this.place) = (chunk?, 0, place);
        }
        let length = buf.remaining().min(this.chunk.len() - this.taken);
        buf.put_slice(&this.chunk[this.taken..this.taken + length]);
        this.taken += length;
        Poll::Ready(Ok(()))
    }
}

impl Place {
    /// The next bytes, once there are some; none at the end.
    async fn next(mut self) -> (io::Result<Vec<u8>>, Self) {
        let chunk = self.read().await;
        (chunk, self)
    }

    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let (offset, epoch) = (self.offset, self.epoch);
        let has_news = |progress: &Progress| {
            progress.length > offset || progress.epoch != epoch || progress.outcome.is_some()
        };
        let progress = self.progress.wait_for(has_news).await.map_err(io::Error::other)?.clone();
        if progress.epoch != epoch {
            if offset > 0 {
                return Err(io::Error::other("the layer comes anew: what came first was something else"));
            }
            self.epoch = progress.epoch;
        }
        match (progress.file, progress.outcome) {
            (_, Some(Err(failure))) => Err(io::Error::other(failure)),
            (Some(file), _) if progress.length > offset => {
                let chunk = read_at(file, offset, (progress.length - offset).min(CHUNK_BYTES)).await?;
                self.offset += chunk.len() as u64;
                Ok(chunk)
            }
            (_, Some(Ok(()))) => Ok(vec![]),
            // Only what comes anew has nothing yet.
            (_, None) => Box::pin(self.read()).await,
        }
    }
}

async fn read_at(file: Arc<File>, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let read = move || {
        let mut chunk = vec![0; length as usize];
        file.read_exact_at(&mut chunk, offset)?;
        Ok(chunk)
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}
