//! Waits until what was started is up, or until it is plain that it will not be.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire::guest::boot::{Booted, Ready};

use super::last_words;
use super::probe::Prober;
use crate::agent::{Agent, Claimed};
use crate::proc;
use crate::process::Kept;

/// Between two tries, at least and at most: longer each time, and short again once the process says something.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// One try may take so long, in seconds.
const TRY_SECONDS_MAX: u64 = 10;
/// Between two looks at whether anything is left of a process that ended well.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// See the module.
pub struct Patience<'a> {
    agent: &'a Agent,
    kept: &'a Rc<Kept>,
    prober: Prober<'a>,
    time: Duration,
    began: Instant,
    tries: Cell<u32>,
    last_answer: RefCell<String>,
}

impl<'a> Patience<'a> {
    /// From now on.
    pub fn new(agent: &'a Agent, claimed: &'a Claimed, kept: &'a Rc<Kept>, ready: &'a Ready) -> Self {
        Self {
            agent,
            kept,
            prober: Prober::new(agent, claimed, &ready.probe),
            time: Duration::from_millis(ready.timeout_ms),
            began: Instant::now(),
            tries: Cell::new(0),
            last_answer: RefCell::default(),
        }
    }

    /// Until it is up, or will not be.
    pub async fn wait(&self) -> Booted {
        let is_up = tokio::select! {
            biased;
            () = self.until_up() => true,
            ended_well = self.until_nothing_is_left() => ended_well && self.try_once().await,
            () = sleep(self.time) => false,
        };
        Booted {
            is_up,
            waited_ms: self.began.elapsed().as_millis() as u64,
            tries: self.tries.get(),
            last_answer: self.last_answer.take(),
            end: self.kept.end(),
            last_words: if is_up { String::new() } else { last_words(self.kept) },
        }
    }

    async fn until_up(&self) {
        let mut pause = PAUSE.0;
        loop {
            let began = Instant::now();
            if self.try_once().await {
                return;
            }
            // A try that is hard work leaves the process as much time as it took itself.
            let least = began.elapsed().clamp(PAUSE.0, PAUSE.1);
            pause = (pause * 2).clamp(least, PAUSE.1);
            sleep(least).await;
            tokio::select! {
                () = sleep(pause - least) => {}
                () = self.kept.news() => pause = PAUSE.0,
            }
        }
    }

    async fn try_once(&self) -> bool {
        let tried = tokio::time::timeout(Duration::from_secs(TRY_SECONDS_MAX), self.prober.try_once()).await;
        let failed = tried.unwrap_or_else(|_| Err(format!("nothing within {TRY_SECONDS_MAX} s")));
        self.tries.set(self.tries.get().saturating_add(1));
        let is_up = failed.is_ok();
        self.last_answer.replace(failed.err().unwrap_or_default());
        is_up
    }

    /// Until it has failed, which is false, or has ended well and left nothing behind that could still come up.
    async fn until_nothing_is_left(&self) -> bool {
        if self.kept.ended().await.exit_code != Some(0) {
            return false;
        }
        while self.is_anything_left().await {
            sleep(LOOK_PAUSE).await;
        }
        true
    }

    /// Whether a process of the sandbox lives, tries of ours left out. A look that fails has seen one.
    async fn is_anything_left(&self) -> bool {
        let own_session = self.prober.session();
        let look = move || {
            let counts = |process: &proc::Process| process.is_alive && Some(process.session) != own_session;
            Ok(proc::descendants().iter().any(counts))
        };
        match self.agent.files.start(None, look).await {
            Ok(ending) => ending.await.ok().and_then(Result::ok).unwrap_or(true),
            Err(_) => true,
        }
    }
}
