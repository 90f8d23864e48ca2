//! What happens to a process, event by event. [`wire::public::process`] says what their numbers mean.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::time::Instant;
use wire::guest::frame::Channel;
use wire::guest::process::ProcessCall;
use wire::guest::{Done, Head, Request};
use wire::id::{SandboxId, TeamId};
use wire::public::process::{ProcessEvent, ProcessEventKind};

use super::end::{exec_end, exit_code, how};
use super::input::feed;
use super::kept::{begin, call_failed, first_word};
use super::{Keep, Order, START_WAIT, at};
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::nodes::{GuestAnswer, GuestEvent, Node, NodeFailure};
use crate::pauses::ready;
use crate::sandboxes::explain;

/// A process that is told of. Dropped, it is listened to no more; one without an id is killed.
pub struct Telling {
    answer: GuestAnswer,
    /// What it reads, on its way.
    feeding: Option<Feeding>,
    /// When its end must have been heard of, and the order that says so.
    due: Option<(Instant, Order)>,
    /// What is told before anything else.
    first: VecDeque<(u64, ProcessEventKind)>,
    /// The number of the last event that was told.
    seq: u64,
    ended: bool,
}

type Feeding = Pin<Box<dyn Future<Output = Infallible> + Send>>;

/// Starts a command; returns when it runs.
pub async fn stream(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    order: Order,
    keep: Option<Keep>,
) -> Result<Telling> {
    let node = ready(fleet, team, id).await?;
    let (answer, pid, feeding) = match &keep {
        None => begin_attended(fleet, &node, id, &order).await?,
        Some(keep) => {
            let (answer, pid) = begin(fleet, &node, id, &order, keep).await?;
            (answer, pid, None)
        }
    };
    let started = ProcessEventKind::Started { pid, id: keep.map(|keep| keep.id) };
    let due = order.deadline().map(|deadline| (deadline, order));
    Ok(Telling { answer, feeding, due, first: VecDeque::from([(0, started)]), seq: 0, ended: false })
}

/// Starts a command that ends with its stream.
async fn begin_attended(
    fleet: &Fleet,
    node: &Node,
    id: &SandboxId,
    order: &Order,
) -> Result<(GuestAnswer, u32, Option<Feeding>)> {
    let begin = async {
        let request = order.request(None);
        let Some(stdin) = order.stdin.clone() else {
            let (answer, first) = first_word(node, id, &request).await?;
            return Ok((answer, first, None));
        };
        let (upload, answer) = node.client.guest_upload(id, &request).await?;
        let mut answer = answer.await?;
        let first = answer.next().await?;
        let feeding: Feeding = Box::pin(feed(upload, stdin));
        Ok::<_, NodeFailure>((answer, first, Some(feeding)))
    };
    let slow = |_| Error::Slow { what: "starting the command", seconds: START_WAIT.as_secs() };
    match tokio::time::timeout(START_WAIT, begin).await.map_err(slow)? {
        Ok((answer, GuestEvent::Head(Head::Process { pid }), feeding)) => Ok((answer, pid, feeding)),
        Ok((_, GuestEvent::End(Err(error)), _)) => Err(Error::Guest(error)),
        Ok(_) => Err(Error::Broken("the agent did not say that the command runs".into())),
        Err(failure) => Err(explain(fleet, id, failure).await),
    }
}

/// Listens to a process with an id, from the event after this one; with `None`, from its first.
pub async fn attach(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    process: &str,
    after: Option<u64>,
) -> Result<Telling> {
    let node = ready(fleet, team, id).await?;
    // Event n is piece n - 1.
    let from = after.unwrap_or(0);
    let request = Request::Process(ProcessCall::Attach { id: process.to_owned(), from });
    let slow = |_| Error::Slow { what: "listening to the process", seconds: START_WAIT.as_secs() };
    let first = tokio::time::timeout(START_WAIT, first_word(&node, id, &request)).await.map_err(slow)?;
    let (answer, pid, found) = match first {
        Ok((answer, GuestEvent::Head(Head::Attached { pid, from }))) => (answer, pid, from),
        Ok((_, GuestEvent::End(Err(error)))) => return Err(call_failed(process, error)),
        Ok(_) => return Err(Error::Broken("the agent did not say that it listens".into())),
        Err(failure) => return Err(explain(fleet, id, failure).await),
    };
    // One more: whoever has seen the end may ask for what comes after it, and is told the end again.
    if from > found.saturating_add(1) {
        let error =
            format!("is the number of an event that has not happened; the last one so far is {found}");
        return Err(Error::field("after", error));
    }
    let mut first = VecDeque::new();
    if after.is_none() {
        first.push_back((0, ProcessEventKind::Started { pid, id: Some(process.to_owned()) }));
    }
    if found > from {
        first.push_back((found, ProcessEventKind::Gap { missed: found - from }));
    }
    Ok(Telling { answer, feeding: None, due: None, first, seq: found, ended: false })
}

impl Telling {
    /// The next event; `None` after the last.
    pub async fn next(&mut self, fleet: &Fleet, id: &SandboxId) -> Option<ProcessEvent> {
        if self.ended {
            return None;
        }
        if let Some((seq, event)) = self.first.pop_front() {
            return Some(ProcessEvent { seq, event });
        }
        let event = match self.next_kind(fleet, id).await {
            Ok(event) => {
                self.seq += 1;
                event
            }
            Err(error) => failed(&error),
        };
        self.ended = matches!(event, ProcessEventKind::Exit { .. } | ProcessEventKind::Error { .. });
        Some(ProcessEvent { seq: self.seq, event })
    }

    async fn next_kind(&mut self, fleet: &Fleet, id: &SandboxId) -> Result<ProcessEventKind> {
        let Self { answer, feeding, due, .. } = self;
        let feeding = async {
            match feeding {
                Some(feeding) => feeding.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = answer.next() => match event {
                Ok(event) => kind(event),
                Err(failure) => Err(explain(fleet, id, failure).await),
            },
            never = feeding => match never {},
            () = at(due.as_ref().map(|(deadline, _)| *deadline)) => Err(overdue(due.as_ref())),
        }
    }
}

fn overdue(due: Option<&(Instant, Order)>) -> Error {
    match due {
        Some((_, order)) => order.overdue(),
        None => Error::Slow { what: "hearing of the command's end", seconds: 0 },
    }
}

fn kind(event: GuestEvent) -> Result<ProcessEventKind> {
    let text = |bytes: Bytes| STANDARD.encode(bytes);
    match event {
        GuestEvent::Data(Channel::Stderr, bytes) => Ok(ProcessEventKind::Stderr { data: text(bytes) }),
        GuestEvent::Data(_, bytes) => Ok(ProcessEventKind::Stdout { data: text(bytes) }),
        GuestEvent::End(Ok(done)) => exit(done),
        GuestEvent::End(Err(error)) => Err(Error::Guest(error)),
        GuestEvent::Head(_) => Err(Error::Broken("the agent said twice that the command runs".into())),
    }
}

fn exit(done: Done) -> Result<ProcessEventKind> {
    let end = exec_end(done)?;
    Ok(ProcessEventKind::Exit { exit_code: exit_code(&end)?, signal: end.signal, how: how(&end).into() })
}

fn failed(error: &Error) -> ProcessEventKind {
    let body = crate::http::error_body(error);
    ProcessEventKind::Error { code: body.code, message: body.message }
}
