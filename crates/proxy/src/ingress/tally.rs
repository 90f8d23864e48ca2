//! What is counted at the door, and told to control now and then.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use wire::ingress::DialRefusalCode;
use wire::ingress::counts::{Counts, NAMES_MAX, WAIT_SECONDS};

use super::refusal::Refusal;

/// Classes of an app's answers, and what was refused.
const OUTCOMES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "refused"];
const REFUSED: usize = OUTCOMES.len() - 1;
/// Where names are counted for which there is no room.
const OTHERS: &str = "others";

/// See the module. Each thread has its own, and the sum of them is told.
#[derive(Debug, Default)]
pub struct Tally {
    /// Those of other threads.
    beside: Mutex<Vec<Arc<Tally>>>,
    requests: [AtomicU64; OUTCOMES.len()],
    refusals: Arc<Named>,
    connections: AtomicU64,
    upgraded: AtomicU64,
    dials: AtomicU64,
    dial_failures: Arc<Named>,
    bytes_to_apps: AtomicU64,
    bytes_from_apps: AtomicU64,
    cut: AtomicU64,
    waits: [AtomicU64; WAIT_SECONDS.len() + 1],
    waited_us: AtomicU64,
}

/// Counts by name.
#[derive(Debug, Default)]
struct Named(Mutex<BTreeMap<String, u64>>);

/// Something that is there until this is dropped.
pub struct Open {
    tally: Arc<Tally>,
    of: fn(&Tally) -> &AtomicU64,
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.of)(&self.tally).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tally {
    /// One for another thread, which counts here too.
    pub fn beside(&self) -> Arc<Self> {
        let (refusals, dial_failures) = (self.refusals.clone(), self.dial_failures.clone());
        let other = Arc::new(Self { refusals, dial_failures, ..Self::default() });
        self.beside.lock().unwrap_or_else(PoisonError::into_inner).push(other.clone());
        other
    }

    /// A client's connection.
    pub fn connection(self: &Arc<Self>) -> Open {
        self.open(|tally| &tally.connections)
    }

    /// A WebSocket.
    pub fn upgraded(self: &Arc<Self>) -> Open {
        self.open(|tally| &tally.upgraded)
    }

    fn open(self: &Arc<Self>, of: fn(&Self) -> &AtomicU64) -> Open {
        add(of(self), 1);
        Open { tally: self.clone(), of }
    }

    /// An app's answer has begun.
    pub fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1).min(REFUSED - 1);
        add(&self.requests[class], 1);
    }

    /// A request went nowhere.
    pub fn refused(&self, refusal: &Refusal) {
        add(&self.requests[REFUSED], 1);
        self.refusals.add(&refusal.code);
    }

    /// A connection to an app was asked for.
    pub fn dialled(&self) {
        add(&self.dials, 1);
    }

    /// It did not come about.
    pub fn dial_failed(&self, code: DialRefusalCode) {
        self.dial_failures.add(match code {
            DialRefusalCode::Gone => "gone",
            DialRefusalCode::NotListening => "not_listening",
            DialRefusalCode::Forbidden => "forbidden",
            DialRefusalCode::Unreachable => "unreachable",
        });
    }

    /// Bytes went to an app.
    pub fn went_to_app(&self, bytes: usize) {
        add(&self.bytes_to_apps, bytes as u64);
    }

    /// Bytes came from an app.
    pub fn came_from_app(&self, bytes: usize) {
        add(&self.bytes_from_apps, bytes as u64);
    }

    /// Something under way was no longer allowed.
    pub fn cut(&self) {
        add(&self.cut, 1);
    }

    /// A request waited for leave.
    pub fn waited(&self, wait: Duration) {
        let seconds = wait.as_secs_f64();
        let bucket = WAIT_SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(WAIT_SECONDS.len());
        add(&self.waits[bucket], 1);
        add(&self.waited_us, u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
    }

    /// All of it, as it is now, with what was counted beside.
    pub fn counts(&self) -> Counts {
        let mut counts = self.own();
        for other in &*self.beside.lock().unwrap_or_else(PoisonError::into_inner) {
            add_up(&mut counts, &other.own());
        }
        counts
    }

    fn own(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let requests = OUTCOMES.iter().zip(&self.requests);
        Counts {
            requests: requests.map(|(name, count)| ((*name).to_owned(), read(count))).collect(),
            refusals: self.refusals.all(),
            connections: read(&self.connections),
            upgraded: read(&self.upgraded),
            dials: read(&self.dials),
            dial_failures: self.dial_failures.all(),
            bytes_to_apps: read(&self.bytes_to_apps),
            bytes_from_apps: read(&self.bytes_from_apps),
            cut: read(&self.cut),
            waits: self.waits.each_ref().map(read),
            waited_us: read(&self.waited_us),
        }
    }
}

impl Named {
    fn add(&self, name: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One more is for the others.
        let has_room = counts.len() + 1 < NAMES_MAX || counts.contains_key(name);
        let name = if has_room { name } else { OTHERS };
        match counts.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(counts.insert(name.to_owned(), 1)),
        }
    }

    fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Adds what was counted beside; what has a name is counted together.
fn add_up(counts: &mut Counts, others: &Counts) {
    for (name, count) in &others.requests {
        *counts.requests.entry(name.clone()).or_default() += count;
    }
    for (count, other) in counts.waits.iter_mut().zip(others.waits) {
        *count += other;
    }
    counts.connections += others.connections;
    counts.upgraded += others.upgraded;
    counts.dials += others.dials;
    counts.bytes_to_apps += others.bytes_to_apps;
    counts.bytes_from_apps += others.bytes_from_apps;
    counts.cut += others.cut;
    counts.waited_us += others.waited_us;
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_refused_there_are_so_many_names_and_no_more() {
        let named = Named::default();
        for number in 0..1000 {
            named.add(&format!("code_{number}"));
            named.add("code_0");
        }
        let counts = named.all();
        assert_eq!((counts.len(), counts["code_0"]), (NAMES_MAX, 1001));
        assert_eq!(counts.values().sum::<u64>(), 2000);
    }

    #[test]
    fn what_is_counted_beside_is_told_too() {
        let tally = Tally::default();
        let (one, other) = (tally.beside(), tally.beside());
        let refusal = Refusal::malformed("no");
        let open: Vec<_> = [&one, &other].map(Tally::connection).into();
        for each in [&one, &other] {
            each.answered(StatusCode::OK);
            each.refused(&refusal);
            each.went_to_app(3);
            each.waited(Duration::from_millis(1));
        }
        let counts = tally.counts();
        assert_eq!((counts.requests["2xx"], counts.requests["refused"], counts.bytes_to_apps), (2, 2, 6));
        assert_eq!((counts.refusals["malformed_request"], counts.connections, counts.waits[0]), (2, 2, 2));
        drop(open);
        assert_eq!(tally.counts().connections, 0);
    }

    #[test]
    fn what_is_open_is_counted_while_it_is_and_waits_by_their_length() {
        let tally = Arc::new(Tally::default());
        let open = (tally.connection(), tally.connection(), tally.upgraded());
        assert_eq!((tally.counts().connections, tally.counts().upgraded), (2, 1));
        drop(open);
        assert_eq!((tally.counts().connections, tally.counts().upgraded), (0, 0));
        for (milliseconds, bucket) in [(1, 0), (2, 1), (30_000, 8), (30_001, 9)] {
            let before = tally.counts().waits[bucket];
            tally.waited(Duration::from_millis(milliseconds));
            assert_eq!(tally.counts().waits[bucket], before + 1, "{milliseconds} ms");
        }
    }
}
