//! What a process reads.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wire::guest::process::ProcessCall;
use wire::guest::{Done, Outcome, Request};
use wire::id::{SandboxId, TeamId};
use wire::sandbox::limits::COMMAND_TIMEOUT_SECONDS;

use super::Keep;
use super::end::another_answer;
use super::kept::{call_failed, last_word};
use crate::content::Content;
use crate::error::{Error, Result};
use crate::finite::GivenUp;
use crate::fleet::Fleet;
use crate::nodes::{Node, NodeFailure, Upload};
use crate::pauses::ready;
use crate::sandboxes::explain;

/// How long a process may read nothing of what is sent to it.
const READ_WAIT: Duration = Duration::from_secs(300);

/// Sends all of a command's input and its end; then, or once nobody reads any more, waits for ever.
pub(super) async fn feed(upload: Upload, stdin: Bytes) -> Infallible {
    if upload.send(stdin).await.is_ok() {
        // What becomes of the command is heard from its answer.
        let _ = upload.finish().await;
    }
    std::future::pending().await
}

/// Sends a body to a process as it comes; returns when the process's pipe has all of it.
pub async fn send(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    process: &str,
    close: bool,
    content: &mut Content,
) -> Result<()> {
    content.check_announced_size()?;
    let node = ready(fleet, team, id).await?;
    let request = Request::Process(ProcessCall::Input { id: process.to_owned(), close });
    let (upload, answer) = match node.client.guest_upload(id, &request).await {
        Ok(call) => call,
        Err(failure) => return Err(explain(fleet, id, failure).await),
    };
    let outcome = async { last_word(answer.await?).await };
    tokio::pin!(outcome);
    let outcome = tokio::select! {
        // The last word may come early: a process that has ended, or reads no more.
        outcome = &mut outcome => outcome,
        sent = pass_on(content, upload) => match sent? {
            Ok(()) | Err(GivenUp) => bounded(outcome).await?,
        },
    };
    match outcome {
        Ok(Ok(Done::Write { .. })) => Ok(()),
        Ok(Ok(_)) => Err(another_answer()),
        Ok(Err(error)) => Err(call_failed(process, error)),
        Err(failure) => Err(explain(fleet, id, failure).await),
    }
}

/// Outer errors are the client's, the inner one says that the node reads no more.
async fn pass_on(content: &mut Content, upload: Upload) -> Result<Result<(), GivenUp>> {
    while let Some(piece) = content.next().await? {
        if bounded(upload.send(piece)).await?.is_err() {
            return Ok(Err(GivenUp));
        }
    }
    bounded(upload.finish()).await
}

async fn bounded<T>(wait: impl Future<Output = T>) -> Result<T> {
    let slow =
        |_| Error::Slow { what: "waiting for the process to read its input", seconds: READ_WAIT.as_secs() };
    tokio::time::timeout(READ_WAIT, wait).await.map_err(slow)
}

/// Sends a process with an id what it was started with, behind the back of whoever started it.
///
/// A process that has stopped reading is no failure; what was meant for it is thrown away.
pub(super) fn send_later(node: Arc<Node>, id: SandboxId, keep: Keep, stdin: Bytes) {
    tokio::spawn(async move {
        let bound = Duration::from_secs((*COMMAND_TIMEOUT_SECONDS.end()).into());
        match tokio::time::timeout(bound, send_now(&node, &id, &keep, stdin)).await {
            Ok(Ok(Ok(_))) => {}
            other => {
                let process = keep.id;
                tracing::debug!(sandbox = %id, process, ?other, "a process did not take all of its input");
            }
        }
    });
}

async fn send_now(node: &Node, id: &SandboxId, keep: &Keep, stdin: Bytes) -> Result<Outcome, NodeFailure> {
    let request = Request::Process(ProcessCall::Input { id: keep.id.clone(), close: !keep.open_stdin });
    let (upload, answer) = node.client.guest_upload(id, &request).await?;
    tokio::select! {
        outcome = async { last_word(answer.await?).await } => outcome,
        never = feed(upload, stdin) => match never {},
    }
}
