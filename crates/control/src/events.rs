//! What became of sandboxes, told from the store: whoever listens holds a page of it at most, and whoever comes back
//! goes on where they were, whatever was restarted meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use wire::id::{SandboxId, TeamId};
use wire::public::event::{EventList, SandboxEvent};
use wire::sandbox::State;

use crate::announcer::Watcher;
use crate::error::Result;
use crate::fleet::Fleet;
use crate::sandboxes::owned;
use crate::store::EventRecord;
use crate::times::rfc3339;

/// Events that one listener is read at once.
const PAGE_EVENTS: u32 = 100;

/// Whose events.
#[derive(Debug, Clone)]
pub struct Whose {
    /// The team.
    pub team: TeamId,
    /// One sandbox of it; absent: all.
    pub sandbox: Option<SandboxId>,
}

/// The events after one of them, so many at most.
pub async fn page(fleet: &Fleet, whose: &Whose, after: u64, max: u32) -> Result<EventList> {
    check(fleet, whose).await?;
    let events = fleet.store.events(&whose.team, whose.sandbox.as_ref(), after, max).await?;
    let next = events.last().map_or(after, |last| last.id);
    Ok(EventList { items: events.into_iter().map(present).collect(), next })
}

/// Listens to what happens after an event.
pub async fn follow(fleet: &Arc<Fleet>, whose: Whose, after: u64) -> Result<Following> {
    // Before anything is read: what changes from here on is not missed.
    let watched = whose.sandbox.as_ref().map_or(whose.team.as_str(), |sandbox| sandbox.as_str());
    let watcher = fleet.announcer.watch(watched);
    check(fleet, &whose).await?;
    Ok(Following { fleet: fleet.clone(), whose, watcher, after, read: VecDeque::new() })
}

async fn check(fleet: &Fleet, whose: &Whose) -> Result<()> {
    match &whose.sandbox {
        Some(sandbox) => owned(fleet, &whose.team, sandbox).await.map(drop),
        None => Ok(()),
    }
}

/// Somebody who listens.
pub struct Following {
    fleet: Arc<Fleet>,
    whose: Whose,
    watcher: Watcher,
    /// The last event that was read from the store.
    after: u64,
    /// What was read and not told yet.
    read: VecDeque<EventRecord>,
}

impl Following {
    /// The next event, when it happens. `None` when there will be none: the sandbox is gone, or the server stops.
    pub async fn next(&mut self) -> Option<Result<SandboxEvent>> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Some(Ok(present(event)));
            }
            match self.read_on().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads a page, or waits until there may be one. False if there is no more to come.
    async fn read_on(&mut self) -> Result<bool> {
        // Asked first: what is read after the end has the end in it.
        let is_over = self.is_over().await?;
        let Whose { team, sandbox } = &self.whose;
        let events = self.fleet.store.events(team, sandbox.as_ref(), self.after, PAGE_EVENTS).await?;
        if let Some(last) = events.last() {
            self.after = last.id;
            self.read = events.into();
            return Ok(true);
        }
        if is_over {
            return Ok(false);
        }
        tokio::select! {
            () = self.watcher.changed() => Ok(true),
            () = self.fleet.sockets.closing() => Ok(false),
        }
    }

    async fn is_over(&self) -> Result<bool> {
        let Some(sandbox) = &self.whose.sandbox else { return Ok(false) };
        let record = self.fleet.store.sandbox(sandbox).await?;
        Ok(record.is_none_or(|record| record.observed == State::Deleted))
    }
}

fn present(event: EventRecord) -> SandboxEvent {
    let (reason, reason_detail) = match event.end {
        Some(end) => (Some(end.reason), Some(end.detail).filter(|detail| !detail.is_empty())),
        None => (None, None),
    };
    SandboxEvent {
        id: event.id,
        sandbox_id: event.sandbox,
        state: event.state,
        at: rfc3339(event.at_ms),
        reason,
        reason_detail,
    }
}
