//! How far a copy is, for whoever watches.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::output::{note, printable};
use crate::size::size;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(100);
/// Back to the beginning of the line, and nothing in it.
const CLEAR: &str = "\r\u{1b}[K";

/// How far it is: a line that changes, if standard error is a terminal.
#[derive(Clone)]
pub struct Progress(Arc<State>);

struct State {
    /// When the line was last drawn; none where nobody watches.
    drawn: Option<Mutex<Instant>>,
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// At the beginning.
    pub fn new() -> Self {
        let drawn = io::stderr().is_terminal().then(|| Mutex::new(Instant::now()));
        Self(Arc::new(State { drawn, files: AtomicU64::new(0), bytes: AtomicU64::new(0) }))
    }

    /// So many bytes more.
    pub fn bytes(&self, count: usize) {
        self.0.bytes.fetch_add(count as u64, Relaxed);
        let Some(drawn) = &self.0.drawn else { return };
        let mut drawn = drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.elapsed() >= INTERVAL {
            *drawn = Instant::now();
            let _ = write!(io::stderr(), "{CLEAR}{}", self.told());
        }
    }

    /// One file more.
    pub fn file(&self) {
        self.0.files.fetch_add(1, Relaxed);
    }

    /// Files and bytes so far.
    pub fn sums(&self) -> (u64, u64) {
        (self.0.files.load(Relaxed), self.0.bytes.load(Relaxed))
    }

    /// Says something beside it.
    pub fn note(&self, text: &str) {
        let clear = if self.0.drawn.is_some() { CLEAR } else { "" };
        note(&format!("{clear}{}", printable(text)));
    }

    /// The last word.
    pub fn finish(&self) {
        if self.0.drawn.is_some() {
            note(&format!("{CLEAR}{}", self.told()));
        }
    }

    /// A reader whose bytes are counted as they are read.
    pub fn counted<R: Read>(&self, reader: R) -> Counted<R> {
        Counted { reader, progress: self.clone() }
    }

    fn told(&self) -> String {
        let (files, bytes) = self.sums();
        format!("{files} {}, {}", if files == 1 { "file" } else { "files" }, size(bytes))
    }
}

/// A reader that tells how far it is.
pub struct Counted<R> {
    reader: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.progress.bytes(length);
        Ok(length)
    }
}
