//! One viewer: sees what the terminal shows, and types into it.

use std::rc::Rc;

use wire::guest::frame::Channel;
use wire::guest::pty::STALL_SECONDS_MAX;
use wire::guest::{Done, Error, ErrorCode, Head, Outcome};

use super::terminal::Terminal;
use super::viewers::Viewer;
use crate::agent::{Agent, Claimed};
use crate::connection::stream::Stream;
use crate::failure;

/// Views a terminal until its program ends or the viewer leaves. A lazy program starts here.
pub async fn attach(agent: &Agent, claimed: &Claimed, stream: &Stream, terminal: &Rc<Terminal>) -> Outcome {
    tokio::select! {
        biased;
        () = stream.cancelled() => return Err(failure::cancelled()),
        started = terminal.start(&claimed.spawner, &agent.reaper) => started?,
    }
    let place = terminal.view()?;
    stream.head(&Head::Pty(terminal.info())).await;
    // In this order: what was typed before leaving is typed.
    tokio::select! {
        biased;
        () = type_all(terminal, stream) => Err(failure::cancelled()),
        () = stream.cancelled() => Err(failure::cancelled()),
        outcome = show_all(terminal, &place.viewer, stream) => outcome,
    }
}

/// What comes is typed. A viewer who has no more to type goes on looking.
async fn type_all(terminal: &Terminal, stream: &Stream) {
    while let Some(bytes) = stream.received().await {
        terminal.type_in(&bytes).await;
        stream.used_up(bytes.len()).await;
    }
    std::future::pending().await
}

async fn show_all(terminal: &Terminal, viewer: &Viewer, stream: &Stream) -> Outcome {
    loop {
        if !viewer.has_some() {
            if let Some(end) = terminal.end() {
                return Ok(Done::Exec(end));
            }
            viewer.came().await;
            continue;
        }
        tokio::select! {
            leave = stream.leave() => {
                let leave = leave.ok_or_else(failure::cancelled)?;
                let bytes = viewer.take(leave.bytes_max);
                leave.send(Channel::Stdout, bytes);
            }
            () = viewer.let_go() => return Err(stalled()),
        }
    }
}

fn stalled() -> Error {
    let message =
        format!("the viewer took nothing for {STALL_SECONDS_MAX} s while the terminal waited for it");
    Error::new(ErrorCode::Stalled, message)
}
