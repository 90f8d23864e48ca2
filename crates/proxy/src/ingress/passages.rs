//! Who may pass, and for how long without asking again: until something of the sandbox changed, or a moment at most.
//!
//! What is under way is looked after too: it is over when control no longer allows it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wire::clock::Clock;
use wire::id::SandboxId;
use wire::ingress::{Allowed, Destination, Passage, Route, RouteQuery};

use super::changes::{Changes, Seen};
use super::crowds::{Crowds, Seats};
use super::refusal::Refusal;
use super::routes::Routes;
use super::tally::Tally;

/// How long an answer of control's is used. Changes are seen at once: this is for those that nobody wrote down.
const FRESH: Duration = Duration::from_secs(1);
/// How often what is under way is looked after.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long one such question may take.
const LOOK_WAIT: Duration = Duration::from_secs(5);
/// How often control is told what was counted.
const TELL_INTERVAL: Duration = Duration::from_secs(5);
/// Questions about that at once.
const LOOKS_MAX: usize = 32;
/// Answers that are remembered; when there are more, those go that nothing under way needs.
const KNOWN_MAX: usize = 8192;

/// See the module.
pub struct Passages {
    routes: Arc<dyn Routes>,
    changes: Changes,
    clock: Arc<dyn Clock>,
    tally: Arc<Tally>,
    crowds: Arc<Crowds>,
    known: Mutex<HashMap<RouteQuery, Arc<Known>>>,
}

/// What was answered to one question.
struct Known {
    query: RouteQuery,
    answer: Mutex<Answer>,
    over: watch::Sender<bool>,
}

struct Answer {
    leave: Arc<Leave>,
    since: Instant,
    /// The counter before the question.
    seen: Option<Seen>,
    /// As of this counter, what is under way may go on, until then.
    allowed: (Option<Seen>, Option<u64>),
}

/// Leave to pass, and where those are counted who use it.
pub struct Leave {
    /// Where they go.
    pub passage: Passage,
    /// Where they are counted.
    pub seats: Seats,
}

/// A request that may pass, for as long as it is under way.
pub struct Stay {
    /// What it was given.
    pub leave: Arc<Leave>,
    known: Arc<Known>,
}

impl Stay {
    /// Where it goes.
    pub fn route(&self) -> &Route {
        &self.leave.passage.route
    }

    /// Whether it may go on no longer.
    pub fn is_over(&self) -> bool {
        *self.known.over.borrow()
    }

    /// Completes when it may go on no longer.
    pub fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut over = self.known.over.subscribe();
        // Its sender is there as long as we are.
        async move { drop(over.wait_for(|over| *over).await) }
    }
}

impl Passages {
    /// What control says by `routes`, as long as nothing is written in the file at `changes`.
    pub fn new(
        routes: Arc<dyn Routes>,
        changes: Option<PathBuf>,
        clock: Arc<dyn Clock>,
        tally: Arc<Tally>,
    ) -> Self {
        let (changes, crowds) = (Changes::at(changes), Arc::default());
        Self { routes, changes, clock, tally, crowds, known: Mutex::default() }
    }

    /// The same for another thread, which asks for itself; who passes is counted together.
    pub fn beside(&self, tally: Arc<Tally>) -> Self {
        let (changes, crowds) = (self.changes.beside(), self.crowds.clone());
        let (routes, clock) = (self.routes.clone(), self.clock.clone());
        Self { routes, changes, clock, tally, crowds, known: Mutex::default() }
    }

    /// Lets a request pass, if it may.
    ///
    /// # Errors
    /// Why it may not.
    pub async fn enter(&self, query: &RouteQuery) -> Result<Stay, Refusal> {
        let known = self.lock().get(query).cloned();
        if let Some(stay) = known.as_ref().and_then(|known| self.stay(known)) {
            return Ok(stay);
        }
        let sandbox = sandbox(query)
            .cloned()
            .or_else(|| known.map(|known| known.leave().passage.route.sandbox.clone()));
        let seen = sandbox.and_then(|sandbox| self.changes.seen(&sandbox));
        let began = Instant::now();
        let passage = self.routes.route(query.clone()).await;
        self.tally.waited(began.elapsed());
        let passage = passage?;
        let seats = self.crowds.seats(&passage.route.sandbox, passage.key.as_ref());
        let allowed = (seen, passage.until_ms);
        let leave = Arc::new(Leave { passage, seats });
        let answer = Answer { leave: leave.clone(), since: Instant::now(), seen, allowed };
        Ok(Stay { leave, known: self.remember(query.clone(), answer) })
    }

    /// One that need not be asked for.
    fn stay(&self, known: &Arc<Known>) -> Option<Stay> {
        let (leave, since, seen) = {
            let answer = known.lock();
            (answer.leave.clone(), answer.since, answer.seen?)
        };
        let Passage { route, until_ms, .. } = &leave.passage;
        let is_good = since.elapsed() < FRESH
            && self.changes.seen(&route.sandbox) == Some(seen)
            && !self.is_past(*until_ms);
        is_good.then(|| Stay { leave, known: known.clone() })
    }

    fn remember(&self, query: RouteQuery, answer: Answer) -> Arc<Known> {
        let mut known = self.lock();
        if let Some(found) = known.get(&query) {
            *found.lock() = answer;
            return found.clone();
        }
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| known.is_needed());
        }
        let fresh = Arc::new(Known {
            query: query.clone(),
            answer: Mutex::new(answer),
            over: watch::Sender::new(false),
        });
        known.insert(query, fresh.clone());
        fresh
    }

    /// Tells control what was counted, now and then, for ever.
    pub async fn tell(&self) {
        loop {
            tokio::time::sleep(TELL_INTERVAL).await;
            if let Err(refusal) = self.routes.tell(self.tally.counts()).await {
                tracing::debug!(why = refusal.message, "what was counted is told later");
            }
        }
    }

    /// Looks after what is under way, for ever.
    pub async fn keep(&self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let doubtful = self.doubtful();
            let mut looks = JoinSet::new();
            for known in doubtful {
                if looks.len() == LOOKS_MAX {
                    self.heed(looks.join_next().await);
                }
                let (routes, seen) =
                    (self.routes.clone(), self.changes.seen(&known.leave().passage.route.sandbox));
                looks.spawn(async move {
                    let look = tokio::time::timeout(LOOK_WAIT, routes.allowed(known.query.clone())).await;
                    (known, seen, look.unwrap_or_else(|_| Err(unknown())))
                });
            }
            while !looks.is_empty() {
                self.heed(looks.join_next().await);
            }
        }
    }

    /// What is under way and may be over; what nobody needs is forgotten.
    fn doubtful(&self) -> Vec<Arc<Known>> {
        let mut known = self.lock();
        known.retain(|_, known| known.is_needed() || known.lock().since.elapsed() < FRESH);
        let needed = known.values().filter(|known| known.is_needed());
        needed.filter(|known| self.is_doubtful(known)).cloned().collect()
    }

    fn is_doubtful(&self, known: &Known) -> bool {
        let answer = known.lock();
        let (seen, until_ms) = answer.allowed;
        seen.is_none()
            || seen != self.changes.seen(&answer.leave.passage.route.sandbox)
            || self.is_past(until_ms)
    }

    fn heed(&self, looked: Option<Result<Looked, tokio::task::JoinError>>) {
        let Some(Ok((known, seen, allowed))) = looked else { return };
        match allowed {
            Ok(allowed) => known.lock().allowed = (seen, allowed.until_ms),
            // It is not control's saying so, unless its time is over.
            Err(refusal) if refusal.status.is_server_error() && !self.is_past(known.lock().allowed.1) => {}
            Err(refusal) => {
                tracing::info!(why = refusal.message, "what is under way may go on no longer");
                // Whoever comes from now on asks anew.
                self.lock().remove(&known.query);
                known.over.send_replace(true);
                // All that have it but us.
                (1..Arc::strong_count(&known)).for_each(|_| self.tally.cut());
            }
        }
    }

    fn is_past(&self, until_ms: Option<u64>) -> bool {
        until_ms.is_some_and(|until_ms| until_ms <= self.clock.wall_ms())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RouteQuery, Arc<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look came to: the counter before it, and until when it may go on.
type Looked = (Arc<Known>, Option<Seen>, Result<Allowed, Refusal>);

impl Known {
    /// Whether something under way has it.
    fn is_needed(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }

    fn leave(&self) -> Arc<Leave> {
        self.lock().leave.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Control does not say.
fn unknown() -> Refusal {
    Refusal::passing(StatusCode::SERVICE_UNAVAILABLE, "control_unavailable", "control does not answer")
}

/// Which sandbox a question names; what a presigned URL opens is known from the first answer on.
fn sandbox(query: &RouteQuery) -> Option<&SandboxId> {
    match &query.to {
        Destination::Sandbox { sandbox, .. } => Some(sandbox),
        Destination::Presigned(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};

    use wire::id::NodeId;
    use wire::ingress::counts::Counts;

    use super::*;
    use crate::ingress::routes::Asking;

    /// Lets everybody in until then, if it does at all, and knows how often it was asked.
    #[derive(Default)]
    struct Gate {
        asked: AtomicU64,
        is_shut: std::sync::atomic::AtomicBool,
        until_ms: Option<u64>,
    }

    impl Gate {
        fn open<T>(&self, value: T) -> Result<T, Refusal> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let shut = || Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "no");
            if self.is_shut.load(Ordering::Relaxed) { Err(shut()) } else { Ok(value) }
        }
    }

    impl Routes for Gate {
        fn route(&self, _: RouteQuery) -> Asking<'_, Passage> {
            let route = Route { sandbox: id(1), port: 80, node: NodeId::from_entropy([1; 20]) };
            let passage = Passage { route, key: None, until_ms: self.until_ms };
            Box::pin(async { self.open(passage) })
        }

        fn allowed(&self, _: RouteQuery) -> Asking<'_, Allowed> {
            Box::pin(async { self.open(Allowed { until_ms: self.until_ms }) })
        }

        fn tell(&self, _: Counts) -> Asking<'_, ()> {
            Box::pin(async { Ok(()) })
        }
    }

    /// What time the test says it is.
    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn wall_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn boot_ms(&self) -> u64 {
            0
        }
    }

    fn id(number: u8) -> SandboxId {
        SandboxId::from_entropy([number; 20])
    }

    fn query() -> RouteQuery {
        RouteQuery { to: Destination::Sandbox { sandbox: id(1), port: Some(80) }, key: None }
    }

    fn change(path: &Path, sandbox: &SandboxId, value: u8) {
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&[value], wire::changes::offset(sandbox)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_used_until_something_changes_or_it_is_old_or_over() {
        let dir = tempfile::tempdir().unwrap();
        let (path, clock) = (dir.path().join("changes"), Arc::new(Hand::default()));
        let gate = Arc::new(Gate { until_ms: Some(10), ..Gate::default() });
        let tally = Arc::new(Tally::default());
        let passages = Passages::new(gate.clone(), Some(path.clone()), clock.clone(), tally);
        let asked = async || {
            let before = gate.asked.load(Ordering::Relaxed);
            drop(passages.enter(&query()).await.unwrap());
            gate.asked.load(Ordering::Relaxed) - before
        };
        assert_eq!((asked().await, asked().await), (1, 1), "nobody says what changes");
        fs::write(&path, vec![0; wire::changes::FILE_BYTES]).unwrap();
        assert_eq!((asked().await, asked().await, asked().await), (1, 0, 0));
        change(&path, &id(1), 1);
        assert_eq!((asked().await, asked().await), (1, 0));
        change(&path, &id(2), 1);
        assert_eq!(asked().await, 0, "another's change");
        tokio::time::advance(FRESH).await;
        assert_eq!((asked().await, asked().await), (1, 0));
        clock.0.store(10, Ordering::Relaxed);
        assert_eq!((asked().await, asked().await), (1, 1), "it is over");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_over_when_it_is_no_longer_allowed_and_asked_for_only_when_in_doubt() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("changes");
        fs::write(&path, vec![0; wire::changes::FILE_BYTES]).unwrap();
        let gate = Arc::new(Gate::default());
        let tally = Arc::new(Tally::default());
        let passages = Arc::new(Passages::new(
            gate.clone(),
            Some(path.clone()),
            Arc::new(Hand::default()),
            tally.clone(),
        ));
        let stay = passages.enter(&query()).await.unwrap();
        let keeping = tokio::spawn({
            let passages = passages.clone();
            async move { passages.keep().await }
        });
        tokio::time::sleep(10 * LOOK_INTERVAL).await;
        assert_eq!(gate.asked.load(Ordering::Relaxed), 1, "nothing changed");
        change(&path, &id(1), 1);
        tokio::time::sleep(10 * LOOK_INTERVAL).await;
        assert_eq!(gate.asked.load(Ordering::Relaxed), 2);
        assert!(!stay.is_over());
        gate.is_shut.store(true, Ordering::Relaxed);
        change(&path, &id(1), 2);
        stay.over().await;
        assert!(stay.is_over());
        assert_eq!(tally.counts().cut, 1);
        assert!(passages.enter(&query()).await.is_err());
        keeping.abort();
    }
}
