//! Directories of a sandbox that are watched. [`wire::public::watch`] says what the numbers of events mean.

use wire::guest::watch::{Change, Watch};
use wire::guest::{Done, Head, Request};
use wire::id::{SandboxId, TeamId};
use wire::public::watch::{WatchEvent, WatchEventKind};

use super::lines::{Lines, read};
use super::{OPERATION_WAIT, another_question, bounded};
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::nodes::{GuestAnswer, GuestEvent, NodeFailure};
use crate::pauses::ready;
use crate::sandboxes::explain;

/// A watch that is told of. Dropped, nobody watches any more.
pub struct Watching {
    answer: GuestAnswer,
    lines: Lines,
    /// The number of the next event.
    seq: u64,
    is_over: bool,
}

/// Watches a directory; returns when the watch stands.
pub async fn watch(fleet: &Fleet, team: &TeamId, id: &SandboxId, watch: Watch) -> Result<Watching> {
    let node = ready(fleet, team, id).await?;
    let request = Request::Watch(watch);
    let begin = async {
        let mut answer = node.client.guest(id, &request).await?;
        let first = answer.next().await?;
        Ok::<_, NodeFailure>((answer, first))
    };
    match bounded("watching the directory", OPERATION_WAIT, begin).await? {
        Ok((answer, GuestEvent::Head(Head::Watching))) => {
            Ok(Watching { answer, lines: Lines::default(), seq: 0, is_over: false })
        }
        Ok((_, GuestEvent::End(Err(refusal)))) => Err(Error::Guest(refusal)),
        Ok(_) => Err(another_question()),
        Err(failure) => Err(explain(fleet, id, failure).await),
    }
}

impl Watching {
    /// The next event; `None` after the last.
    pub async fn next(&mut self, fleet: &Fleet, id: &SandboxId) -> Option<WatchEvent> {
        if self.is_over {
            return None;
        }
        let event = match self.seq {
            0 => WatchEventKind::Ready,
            _ => self.next_kind(fleet, id).await.unwrap_or_else(|error| failed(&error)),
        };
        self.is_over = matches!(event, WatchEventKind::Gone | WatchEventKind::Error { .. });
        let seq = self.seq;
        self.seq += 1;
        Some(WatchEvent { seq, event })
    }

    async fn next_kind(&mut self, fleet: &Fleet, id: &SandboxId) -> Result<WatchEventKind> {
        loop {
            // Nothing the agent says goes out unread.
            if let Some(line) = self.lines.next_line()? {
                return read(&line).map(kind);
            }
            match self.answer.next().await {
                Ok(GuestEvent::Data(_, bytes)) => self.lines.feed(&bytes),
                Ok(GuestEvent::End(Ok(Done::Nothing))) if self.lines.is_empty() => {
                    return Ok(WatchEventKind::Gone);
                }
                Ok(GuestEvent::End(Err(refusal))) => return Err(Error::Guest(refusal)),
                Ok(GuestEvent::End(Ok(_)) | GuestEvent::Head(_)) => return Err(another_question()),
                Err(failure) => return Err(explain(fleet, id, failure).await),
            }
        }
    }
}

fn kind(change: Change) -> WatchEventKind {
    match change {
        Change::Created { path, is_dir } => WatchEventKind::Created { path, is_dir },
        Change::Modified { path } => WatchEventKind::Modified { path },
        Change::Written { path } => WatchEventKind::Written { path },
        Change::Attributes { path, is_dir } => WatchEventKind::Attributes { path, is_dir },
        Change::Moved { from, to, is_dir } => WatchEventKind::Moved { from, to, is_dir },
        Change::Deleted { path, is_dir } => WatchEventKind::Deleted { path, is_dir },
        Change::Rescan => WatchEventKind::Rescan,
    }
}

fn failed(error: &Error) -> WatchEventKind {
    let body = crate::http::error_body(error);
    WatchEventKind::Error { code: body.code, message: body.message }
}
