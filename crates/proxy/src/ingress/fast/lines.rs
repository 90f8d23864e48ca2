//! Connections to apps that wait for the next plain request, for a moment, each for one port of one sandbox. One whose
//! sandbox goes, or that its app closes, is closed at once: a checkpoint must not meet it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::Notify;
use tokio::task::unconstrained;
use tokio::time::Instant;
use wire::ingress::Route;

use crate::ingress::limits::Limits;
use crate::ingress::upstream::Line;

/// See the module.
pub struct Lines {
    idle: Mutex<HashMap<Route, Vec<Kept>>>,
    /// Told that something happened on one that waits.
    stirred: Arc<Stirred>,
    /// How long each may wait.
    wait: Duration,
    /// How many may wait for one port: as many as can be needed at once.
    each_max: usize,
}

struct Kept {
    line: Line,
    since: Instant,
}

#[derive(Default)]
struct Stirred(Notify);

impl Wake for Stirred {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Lines {
    /// None yet.
    pub fn new(limits: &Limits) -> Self {
        let (wait, each_max) = (limits.upstream_idle, limits.sandbox_requests_max);
        Self { idle: Mutex::default(), stirred: Arc::default(), wait, each_max }
    }

    /// The one that was used last, if it is still good.
    pub fn take(&self, route: &Route) -> Option<Line> {
        let mut idle = self.lock();
        let kept = idle.get_mut(route)?;
        // Whoever takes it waits for what it says from now on.
        std::iter::from_fn(|| kept.pop())
            .find_map(|mut kept| self.is_good(&mut kept, Waker::noop()).then_some(kept.line))
    }

    /// Keeps one for a moment.
    pub fn put(&self, route: &Route, line: Line) {
        let mut kept = Kept { line, since: Instant::now() };
        if !self.is_good(&mut kept, &self.stirred.clone().into()) {
            return;
        }
        let mut idle = self.lock();
        if !idle.contains_key(route) {
            idle.insert(route.clone(), Vec::new());
        }
        if let Some(others) = idle.get_mut(route).filter(|others| others.len() < self.each_max) {
            others.push(kept);
        }
    }

    /// Lets those go that nobody needed for a moment, or on which something happened, for ever.
    pub async fn keep(&self) {
        let stirred = Waker::from(self.stirred.clone());
        loop {
            // Either way, all are looked at.
            let _ = tokio::time::timeout(self.wait, self.stirred.0.notified()).await;
            self.lock().retain(|_, kept| {
                kept.retain_mut(|kept| self.is_good(kept, &stirred));
                !kept.is_empty()
            });
        }
    }

    /// Whether it may be used: it is not too old, the app has neither closed it nor said what nobody asked for, and its
    /// sandbox is there. Whenever that changes, `waker` is told.
    fn is_good(&self, kept: &mut Kept, waker: &Waker) -> bool {
        let (mut byte, line) = ([0; 1], &mut kept.line);
        let read = poll_fn(|cx| Pin::new(&mut *line).poll_read(cx, &mut ReadBuf::new(&mut byte)));
        // However much was done in this turn: otherwise nothing would be known of it.
        let read = pin!(unconstrained(read)).poll(&mut Context::from_waker(waker));
        kept.since.elapsed() < self.wait && read.is_pending()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Route, Vec<Kept>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
