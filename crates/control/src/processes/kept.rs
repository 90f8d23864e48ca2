//! Processes with an id: started, shown, signalled, awaited, forgotten.

use std::sync::Arc;
use std::time::Duration;

use wire::guest::process::{ProcessCall, ProcessInfo};
use wire::guest::{Done, ErrorCode, Head, Outcome, Request};
use wire::id::{SandboxId, TeamId};
use wire::public::process::{Process, ProcessState};

use super::end::{another_answer, exit_code, how};
use super::input::send_later;
use super::{Keep, Order, START_WAIT};
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::nodes::{GuestAnswer, GuestEvent, Node, NodeFailure};
use crate::pauses::ready;
use crate::sandboxes::explain;
use crate::times::rfc3339;

/// How long the agent may take to answer what it knows.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Starts a process with an id; returns when it runs.
pub async fn start(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    order: &Order,
    keep: &Keep,
) -> Result<Process> {
    let node = ready(fleet, team, id).await?;
    // What it says is kept for whoever comes to listen.
    drop(begin(fleet, &node, id, order, keep).await?);
    show(look(fleet, &node, id, &keep.id).await?)
}

/// Starts a process with an id: what it says from now on, and its number.
pub(super) async fn begin(
    fleet: &Fleet,
    node: &Arc<Node>,
    id: &SandboxId,
    order: &Order,
    keep: &Keep,
) -> Result<(GuestAnswer, u32)> {
    let request = order.request(Some(keep));
    let slow = |_| Error::Slow { what: "starting the command", seconds: START_WAIT.as_secs() };
    let first = tokio::time::timeout(START_WAIT, first_word(node, id, &request)).await.map_err(slow)?;
    let begun = match first {
        Ok((answer, GuestEvent::Head(Head::Attached { pid, .. }))) => (answer, pid),
        Ok((_, GuestEvent::End(Err(error)))) => return Err(Error::Guest(error)),
        Ok(_) => return Err(Error::Broken("the agent did not say that the command runs".into())),
        Err(failure) => return Err(explain(fleet, id, failure).await),
    };
    if let Some(stdin) = order.stdin.clone() {
        send_later(node.clone(), id.clone(), keep.clone(), stdin);
    }
    Ok(begun)
}

pub(super) async fn first_word(
    node: &Node,
    id: &SandboxId,
    request: &Request,
) -> Result<(GuestAnswer, GuestEvent), NodeFailure> {
    let mut answer = node.client.guest(id, request).await?;
    let first = answer.next().await?;
    Ok((answer, first))
}

/// All that are known, in the order of their starts.
pub async fn list(fleet: &Fleet, team: &TeamId, id: &SandboxId) -> Result<Vec<Process>> {
    let node = ready(fleet, team, id).await?;
    match ask(fleet, &node, id, "", ProcessCall::List).await? {
        Done::Processes(all) => all.into_iter().map(show).collect(),
        _ => Err(another_answer()),
    }
}

/// One of them.
pub async fn get(fleet: &Fleet, team: &TeamId, id: &SandboxId, process: &str) -> Result<Process> {
    let node = ready(fleet, team, id).await?;
    show(look(fleet, &node, id, process).await?)
}

/// Sends a signal to it and its group.
pub async fn signal(fleet: &Fleet, team: &TeamId, id: &SandboxId, process: &str, signal: i32) -> Result<()> {
    let node = ready(fleet, team, id).await?;
    nothing(ask(fleet, &node, id, process, ProcessCall::Signal { id: process.to_owned(), signal }).await?)
}

/// Kills it, if it runs, and forgets it.
pub async fn forget(fleet: &Fleet, team: &TeamId, id: &SandboxId, process: &str) -> Result<()> {
    let node = ready(fleet, team, id).await?;
    nothing(ask(fleet, &node, id, process, ProcessCall::Forget { id: process.to_owned() }).await?)
}

/// Waits for its end, or so long; what is known of it then.
pub async fn wait(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    process: &str,
    patience: Duration,
) -> Result<Process> {
    let node = ready(fleet, team, id).await?;
    let call = Request::Process(ProcessCall::Wait { id: process.to_owned() });
    let wait = async { last_word(node.client.guest(id, &call).await?).await };
    match tokio::time::timeout(patience, wait).await {
        Ok(Ok(Ok(Done::Exec(_)))) | Err(_) => {}
        Ok(Ok(Ok(_))) => return Err(another_answer()),
        Ok(Ok(Err(error))) => return Err(call_failed(process, error)),
        Ok(Err(failure)) => return Err(explain(fleet, id, failure).await),
    }
    show(look(fleet, &node, id, process).await?)
}

async fn look(fleet: &Fleet, node: &Node, id: &SandboxId, process: &str) -> Result<ProcessInfo> {
    match ask(fleet, node, id, process, ProcessCall::Get { id: process.to_owned() }).await? {
        Done::Processes(all) => all.into_iter().next().ok_or_else(another_answer),
        _ => Err(another_answer()),
    }
}

async fn ask(fleet: &Fleet, node: &Node, id: &SandboxId, process: &str, call: ProcessCall) -> Result<Done> {
    let request = Request::Process(call);
    let answer = async { last_word(node.client.guest(id, &request).await?).await };
    let slow = |_| Error::Slow { what: "asking about the process", seconds: ANSWER_WAIT.as_secs() };
    match tokio::time::timeout(ANSWER_WAIT, answer).await.map_err(slow)? {
        Ok(outcome) => outcome.map_err(|error| call_failed(process, error)),
        Err(failure) => Err(explain(fleet, id, failure).await),
    }
}

pub(super) async fn last_word(mut answer: GuestAnswer) -> Result<Outcome, NodeFailure> {
    loop {
        if let GuestEvent::End(outcome) = answer.next().await? {
            return Ok(outcome);
        }
    }
}

/// What the agent refused. A process that is not there is as any other object that is not.
pub(super) fn call_failed(process: &str, error: wire::guest::Error) -> Error {
    match error.code {
        ErrorCode::NotFound => Error::not_found("process", process),
        _ => Error::Guest(error),
    }
}

fn nothing(done: Done) -> Result<()> {
    if done == Done::Nothing { Ok(()) } else { Err(another_answer()) }
}

/// A process as its owner sees it. Event `n` is piece `n - 1`, and its end comes after the last.
fn show(info: ProcessInfo) -> Result<Process> {
    let time = |ms: u64| rfc3339(i64::try_from(ms).unwrap_or(i64::MAX));
    let end = info.end.as_ref();
    Ok(Process {
        id: info.id,
        pid: info.pid,
        command: info.command,
        cwd: info.cwd,
        state: if end.is_some() { ProcessState::Ended } else { ProcessState::Running },
        started_at: time(info.started_at_ms),
        ended_at: info.ended_at_ms.map(time),
        exit_code: end.map(exit_code).transpose()?,
        signal: end.and_then(|end| end.signal),
        how: end.map(|end| how(end).to_owned()),
        first_seq: info.first_piece.saturating_add(1),
        last_seq: info.next_piece.saturating_add(end.is_some().into()),
        stdin: info.stdin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::guest::{ExecCause, ExecEnd};

    fn info(end: Option<ExecEnd>) -> ProcessInfo {
        ProcessInfo {
            id: "a".into(),
            pid: 7,
            command: "x".into(),
            cwd: "/".into(),
            started_at_ms: 1_700_000_000_000,
            ended_at_ms: end.as_ref().map(|_| u64::MAX),
            end,
            first_piece: 2,
            next_piece: 5,
            stdin: false,
        }
    }

    #[test]
    fn the_last_event_of_one_that_ended_is_its_end() {
        let running = show(info(None)).unwrap();
        assert_eq!((running.state, running.first_seq, running.last_seq), (ProcessState::Running, 3, 5));
        let end = ExecEnd { exit_code: None, signal: Some(9), cause: ExecCause::Timeout };
        let ended = show(info(Some(end))).unwrap();
        assert_eq!(
            (ended.exit_code, ended.signal, ended.how.as_deref()),
            (Some(124), Some(9), Some("timeout"))
        );
        assert_eq!(ended.last_seq, 6);
        let unsaid = ExecEnd { exit_code: None, signal: None, cause: ExecCause::Itself };
        assert!(show(info(Some(unsaid))).is_err());
    }
}
