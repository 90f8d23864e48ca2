//! What a listener is still to be told: bounded, and true about what it lost.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use rustix::event::EventfdFlags;
use tokio::sync::Notify;
use wire::guest::Error;
use wire::guest::watch::{Change, QUEUE_BYTES_MAX};

use crate::failure;

/// Between the thread that watches and the stream that tells.
pub struct Outbox {
    state: Mutex<State>,
    /// There is something new to say.
    came: Notify,
    is_closed: AtomicBool,
    /// Wakes the thread when nobody wants to hear more.
    bell: OwnedFd,
}

#[derive(Default)]
struct State {
    stage: Stage,
    lines: Lines,
}

#[derive(Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Establishing,
    Ready,
    Telling,
}

/// Lines of changes, in order.
#[derive(Default)]
struct Lines {
    bytes: BytesMut,
    /// Something was left out. The last line says so, and no more come until it has been taken.
    is_lossy: bool,
    is_over: bool,
}

/// What comes next for the listener.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// The watch stands.
    Ready,
    /// There are lines to take.
    Lines,
    /// There is no more.
    Over,
}

/// The listener's interest. Dropped, the thread is told to end.
pub struct Hold(Arc<Outbox>);

impl Outbox {
    /// An empty one.
    pub fn new() -> rustix::io::Result<Arc<Self>> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let is_closed = AtomicBool::new(false);
        Ok(Arc::new(Self { state: Mutex::default(), came: Notify::new(), is_closed, bell }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The thread's side.

    /// The watch stands.
    pub fn ready(&self) {
        self.state().stage = Stage::Ready;
        self.came.notify_one();
    }

    /// Says one change, or that something is lost.
    pub fn tell(&self, change: &Change) {
        self.state().lines.push(change);
        self.came.notify_one();
    }

    /// There is no more to say.
    pub fn over(&self) {
        self.state().lines.is_over = true;
        self.came.notify_one();
    }

    /// Fails if nobody wants to hear more.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_closed.load(Ordering::Relaxed) { Err(failure::cancelled()) } else { Ok(()) }
    }

    /// Becomes readable when nobody wants to hear more.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    // The listener's side.

    /// See [`Hold`].
    pub fn hold(self: &Arc<Self>) -> Hold {
        Hold(self.clone())
    }

    /// Waits for what comes next.
    pub async fn next(&self) -> Said {
        loop {
            if let Some(said) = self.next_now() {
                return said;
            }
            self.came.notified().await;
        }
    }

    fn next_now(&self) -> Option<Said> {
        let mut state = self.state();
        if state.stage == Stage::Ready {
            state.stage = Stage::Telling;
            return Some(Said::Ready);
        }
        let has_told = state.stage == Stage::Telling;
        match &state.lines {
            lines if has_told && !lines.bytes.is_empty() => Some(Said::Lines),
            lines if lines.is_over => Some(Said::Over),
            _ => None,
        }
    }

    /// Takes so many bytes at most.
    pub fn take(&self, bytes_max: usize) -> Bytes {
        self.state().lines.take(bytes_max)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Relaxed);
        // It can only fail when it has been rung more often than a number counts.
        let _ = rustix::io::write(&self.0.bell, &1u64.to_ne_bytes());
    }
}

impl Lines {
    fn push(&mut self, change: &Change) {
        if self.is_lossy {
            return;
        }
        let line = line(change);
        // One that writes a file in small pieces says the same again and again.
        if matches!(change, Change::Modified { .. } | Change::Rescan) && self.bytes.ends_with(&line) {
            return;
        }
        self.is_lossy = self.bytes.len() + line.len() > QUEUE_BYTES_MAX;
        let said = if self.is_lossy { self::line(&Change::Rescan) } else { line };
        self.bytes.extend_from_slice(&said);
    }

    fn take(&mut self, bytes_max: usize) -> Bytes {
        let length = self.bytes.len().min(bytes_max);
        let taken = self.bytes.split_to(length).freeze();
        if self.bytes.is_empty() {
            // Lets go of the room that a burst needed.
            self.bytes = BytesMut::new();
            self.is_lossy = false;
        }
        taken
    }
}

fn line(change: &Change) -> Vec<u8> {
    // A change is plain data: it always has a JSON form.
    let mut line = serde_json::to_vec(change).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(number: usize) -> Change {
        Change::Created { path: format!("/{number}"), is_dir: false }
    }

    fn changes(bytes: &[u8]) -> Vec<Change> {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    #[test]
    fn what_is_too_much_is_one_rescan_until_that_is_taken() {
        let mut lines = Lines::default();
        (0..100_000).for_each(|number| lines.push(&created(number)));
        assert!(lines.bytes.len() < QUEUE_BYTES_MAX + 64);
        let mut heard = Vec::new();
        heard.extend(lines.take(1000));
        // There is room again, but what was lost has not been told yet.
        lines.push(&created(1));
        while !lines.bytes.is_empty() {
            heard.extend(lines.take(1000));
        }
        lines.push(&created(2));
        heard.extend(lines.take(1000));
        let heard = changes(&heard);
        let told = heard.len() - 2;
        assert_eq!(heard[..told], (0..told).map(created).collect::<Vec<_>>());
        assert_eq!(heard[told..], [Change::Rescan, created(2)]);
    }

    #[test]
    fn only_what_says_nothing_new_is_left_out() {
        let mut lines = Lines::default();
        let modified = |path: &str| Change::Modified { path: path.into() };
        let written = || Change::Written { path: "/a".into() };
        let all = [modified("/a"), modified("/a"), modified("/b"), modified("/a"), written(), written()];
        all.iter().for_each(|change| lines.push(change));
        let heard = changes(&lines.take(usize::MAX));
        assert_eq!(heard, [modified("/a"), modified("/b"), modified("/a"), written(), written()]);
        lines.push(&modified("/a"));
        assert_eq!(changes(&lines.take(usize::MAX)), [modified("/a")], "the one before was taken");
    }

    #[tokio::test]
    async fn a_watch_that_stands_is_told_first_and_one_that_does_not_never() {
        let outbox = Outbox::new().unwrap();
        outbox.tell(&created(1));
        outbox.ready();
        outbox.over();
        assert_eq!(outbox.next().await, Said::Ready);
        assert_eq!(outbox.next().await, Said::Lines);
        outbox.take(usize::MAX);
        assert_eq!(outbox.next().await, Said::Over);
        let failed = Outbox::new().unwrap();
        failed.over();
        assert_eq!(failed.next().await, Said::Over);
    }

    #[test]
    fn a_listener_that_leaves_rings() {
        let outbox = Outbox::new().unwrap();
        assert!(outbox.check().is_ok());
        drop(outbox.hold());
        assert!(outbox.check().is_err());
        assert_eq!(rustix::io::read(outbox.bell(), &mut [0; 8]), Ok(8));
    }
}
