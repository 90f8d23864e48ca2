//! What is asked about a process that has an id.

use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use wire::guest::process::ProcessCall;
use wire::guest::{Done, Error, ErrorCode, Outcome};

use super::attach::Hearing;
use super::kept::Kept;
use crate::agent::Agent;
use crate::connection::stream::Stream;
use crate::failure;

/// The numbers of all signals.
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;

/// Does it.
pub async fn call(agent: &Agent, stream: &Stream, call: ProcessCall) -> Outcome {
    let table = &agent.processes;
    match call {
        ProcessCall::Attach { id, from } => {
            let kept = table.get(&id)?;
            Hearing::of(kept.listen(from)?).talk(agent, stream).await
        }
        ProcessCall::Input { id, close } => {
            let kept = table.get(&id)?;
            unless_cancelled(stream, input(&kept, stream, close)).await
        }
        ProcessCall::Signal { id, signal } => {
            let kept = table.get(&id)?;
            send_signal(agent, &kept, signal)
        }
        ProcessCall::Wait { id } => {
            let kept = table.get(&id)?;
            unless_cancelled(stream, async { Ok(Done::Exec(kept.ended().await)) }).await
        }
        ProcessCall::List => Ok(Done::Processes(table.list())),
        ProcessCall::Get { id } => Ok(Done::Processes(vec![table.get(&id)?.info()])),
        ProcessCall::Forget { id } => {
            let kept = table.get(&id)?;
            unless_cancelled(stream, forget(agent, &kept)).await
        }
    }
}

async fn unless_cancelled(stream: &Stream, work: impl Future<Output = Outcome>) -> Outcome {
    tokio::select! {
        biased;
        () = stream.cancelled() => Err(failure::cancelled()),
        outcome = work => outcome,
    }
}

/// Passes on what the node sends until its Eof. One sender at a time; others wait for their turn.
async fn input(kept: &Kept, stream: &Stream, close: bool) -> Outcome {
    let mut input = kept.input.lock().await;
    let mut sent = 0;
    let mut take = async || {
        let pipe = input.as_mut().ok_or_else(|| wrong_state(kept, "takes no input, or no more"))?;
        while let Some(bytes) = stream.received().await {
            if pipe.write_all(&bytes).await.is_err() {
                *input = None;
                kept.set_input_closed();
                return Err(wrong_state(kept, "has stopped reading its input"));
            }
            sent += bytes.len() as u64;
            stream.used_up(bytes.len()).await;
        }
        Ok(())
    };
    tokio::select! {
        taken = take() => taken?,
        _ = kept.ended() => {
            *input = None;
            return Err(wrong_state(kept, "has ended"));
        }
    }
    if close {
        *input = None;
        kept.set_input_closed();
    }
    Ok(Done::Write { bytes: sent })
}

/// To the group that it leads, while it lives: afterwards its number may mean another one.
fn send_signal(agent: &Agent, kept: &Kept, signal: i32) -> Outcome {
    if !SIGNALS.contains(&signal) {
        return Err(failure::invalid(format!("{signal} is not the number of a signal")));
    }
    if kept.end().is_some() || !agent.reaper.signal_group(kept.card.pid, signal) {
        return Err(wrong_state(kept, "has ended"));
    }
    Ok(Done::Nothing)
}

async fn forget(agent: &Agent, kept: &Rc<Kept>) -> Outcome {
    if kept.end().is_none() {
        kept.discard();
        kept.ended().await;
    }
    agent.processes.forget(kept);
    Ok(Done::Nothing)
}

fn wrong_state(kept: &Kept, what: &str) -> Error {
    Error::new(ErrorCode::WrongState, format!("process {} {what}", kept.card.id))
}
