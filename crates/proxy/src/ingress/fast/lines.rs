//! Connections to apps that wait for the next plain request, for a moment, each for one port of one sandbox.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;
use wire::ingress::Route;

use crate::ingress::limits::Limits;
use crate::ingress::upstream::Line;

/// See the module.
pub struct Lines {
    idle: Mutex<HashMap<Route, Vec<Kept>>>,
    /// How long each may wait.
    wait: Duration,
    /// How many may wait for one port: as many as can be needed at once.
    each_max: usize,
}

struct Kept {
    line: Line,
    since: Instant,
}

impl Lines {
    /// None yet.
    pub fn new(limits: &Limits) -> Self {
        Self { idle: Mutex::default(), wait: limits.upstream_idle, each_max: limits.sandbox_requests_max }
    }

    /// The one that was used last, if it is still good.
    pub fn take(&self, route: &Route) -> Option<Line> {
        let mut idle = self.lock();
        let kept = idle.get_mut(route)?;
        std::iter::from_fn(|| kept.pop()).find_map(|mut kept| self.is_good(&mut kept).then_some(kept.line))
    }

    /// Keeps one for a moment.
    pub fn put(&self, route: &Route, line: Line) {
        let mut idle = self.lock();
        if !idle.contains_key(route) {
            idle.insert(route.clone(), Vec::new());
        }
        if let Some(kept) = idle.get_mut(route).filter(|kept| kept.len() < self.each_max) {
            kept.push(Kept { line, since: Instant::now() });
        }
    }

    /// Lets those go that nobody needed for a moment, for ever.
    pub async fn keep(&self) {
        loop {
            tokio::time::sleep(self.wait).await;
            self.lock().retain(|_, kept| {
                kept.retain_mut(|kept| self.is_good(kept));
                !kept.is_empty()
            });
        }
    }

    fn is_good(&self, kept: &mut Kept) -> bool {
        kept.since.elapsed() < self.wait && is_silent(&mut kept.line)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Route, Vec<Kept>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the app has neither closed it nor said anything that nobody asked for, and its sandbox is there.
fn is_silent(line: &mut Line) -> bool {
    let mut byte = [0; 1];
    // Nobody waits: whether there is something to read is known without asking the system.
    let read =
        Pin::new(line).poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
    read.is_pending()
}
