//! A program that reads our standard input while it runs.

use std::time::Duration;

use anyhow::{Result, bail};
use http::Method;
use wire::public::process::{Execute, OnDisconnect, ProcessEvent, ProcessEventKind};

use super::feed::feed;
use super::listen::listen;
use crate::client::{Events, Session, pieces};
use crate::interrupts::Interrupts;

/// For the server to forget a process that has ended, or to kill it.
const FORGET_WAIT: Duration = Duration::from_secs(5);

/// Runs it: a process with an id, whose input stays open. It is forgotten, and killed if it still runs, whatever happens.
pub async fn run(session: &Session, base: &str, order: Execute, interrupts: &mut Interrupts) -> Result<u8> {
    let order = Execute { on_disconnect: Some(OnDisconnect::Detach), open_stdin: Some(true), ..order };
    let mut events = session.client.events(Method::POST, &format!("{base}/stream"), &order).await?;
    let process = format!("{base}/{}", started(&mut events).await?);
    let code = tokio::select! {
        code = listen(&mut events) => code,
        failure = input(session, &process) => Err(failure),
        code = interrupts.next() => Ok(code),
    };
    // It has ended, or nobody is left to care for it; a sandbox that is gone took it along.
    let _ = tokio::time::timeout(FORGET_WAIT, session.client.delete(&process)).await;
    code
}

/// The id it was given.
async fn started(events: &mut Events) -> Result<String> {
    match events.next::<ProcessEvent>().await?.map(|event| event.event) {
        Some(ProcessEventKind::Started { id: Some(id), .. }) => Ok(id),
        Some(ProcessEventKind::Error { message, .. }) => bail!(message),
        _ => bail!("the server does not say that the command runs"),
    }
}

/// Passes our standard input on. Returns only when that fails: how the program ended is heard elsewhere.
async fn input(session: &Session, process: &str) -> anyhow::Error {
    match feed(session, process, pieces(std::io::stdin()), true).await {
        Ok(_) => std::future::pending().await,
        Err(failure) => failure,
    }
}
