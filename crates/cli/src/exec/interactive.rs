//! A program that reads our standard input while it runs.

use std::time::Duration;

use anyhow::Result;
use http::Method;
use wire::id::ProcessId;
use wire::public::process::{Execute, OnDisconnect, ProcessEvent};

use super::feed::feed;
use super::listen::{listen, show};
use crate::client::{Session, pieces};
use crate::entropy;
use crate::interrupts::Interrupts;

/// For the server to forget a process that has ended, or to kill it.
const FORGET_WAIT: Duration = Duration::from_secs(5);

/// Runs it: a process with an id, whose input stays open. It is forgotten, and killed if it still runs, whatever happens.
pub async fn run(session: &Session, base: &str, order: Execute, interrupts: &mut Interrupts) -> Result<u8> {
    // An id of our own: it can be killed although nobody was there to hear that it runs.
    let id = ProcessId::from_entropy(entropy::bytes()?).to_string();
    let process = format!("{base}/{id}");
    let order =
        Execute { id: Some(id), on_disconnect: Some(OnDisconnect::Detach), open_stdin: Some(true), ..order };
    let code = tokio::select! {
        code = converse(session, base, &process, &order) => code,
        code = interrupts.next() => Ok(code),
    };
    // It has ended, or nobody is left to care for it; a sandbox that is gone took it along.
    let _ = tokio::time::timeout(FORGET_WAIT, session.client.delete(&process)).await;
    code
}

async fn converse(session: &Session, base: &str, process: &str, order: &Execute) -> Result<u8> {
    let mut events = session.client.events(Method::POST, &format!("{base}/stream"), order).await?;
    // Nothing can be read by what does not run yet.
    if let Some(event) = events.next::<ProcessEvent>().await?
        && let Some(code) = show(event.event)?
    {
        return Ok(code);
    }
    tokio::select! {
        code = listen(&mut events) => code,
        failure = input(session, process) => Err(failure),
    }
}

/// Passes our standard input on. Returns only when that fails: how the program ended is heard elsewhere.
async fn input(session: &Session, process: &str) -> anyhow::Error {
    match feed(session, process, pieces(std::io::stdin()), true).await {
        Ok(_) => std::future::pending().await,
        Err(failure) => failure,
    }
}
