//! What the task of a sandbox waits for, all at once. What cannot happen never completes.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use engine::{Exit, Machine};
use tokio::sync::watch;
use wire::clock::Clock;
use wire::sandbox::State;

use super::record::Phase;
use super::talk::Talk;
use crate::guest::Connection;

/// How often a task looks at the clock, at least: a host that was suspended is noticed this late.
const CLOCK_TICK: Duration = Duration::from_secs(1);

/// Something under way that comes to a `T`.
pub(super) type Doing<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Completes when the sandbox's time is up; never, if it has no time or is not running.
pub(super) async fn time_up(clock: &dyn Clock, phase: &Phase, state: State) {
    let Phase::Running { deadline_boot_ms } = *phase else { return pending().await };
    if state != State::Running {
        return pending().await;
    }
    loop {
        let left = deadline_boot_ms.saturating_sub(clock.boot_ms());
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(left).min(CLOCK_TICK)).await;
    }
}

/// Waits until nobody has talked for so long; for ever, if sandboxes are not to doze.
pub(super) async fn quiet(talk: &Talk, long: Option<Duration>) {
    match long {
        Some(long) => talk.quiet(long).await,
        None => pending().await,
    }
}

/// Drives what is under way; for ever, if nothing is.
pub(super) async fn finished<T>(doing: &mut Option<Doing<T>>) -> T {
    match doing {
        Some(future) => {
            let result = future.await;
            *doing = None;
            result
        }
        None => pending().await,
    }
}

/// Waits for the machine's end; for ever, if there is none.
pub(super) async fn ended(machine: &Option<Machine>) -> Exit {
    match machine {
        Some(machine) => machine.exited().await,
        None => pending().await,
    }
}

/// Waits until the connection to the agent is gone; for ever, if there is none.
pub(super) async fn disconnected(guest: &watch::Sender<Option<Connection>>) {
    let connection = guest.borrow().clone();
    match connection {
        Some(connection) => connection.closed().await,
        None => pending().await,
    }
}
