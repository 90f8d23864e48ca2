//! What the sandbox starts with: started once, whoever asks how often, and waited for until it is up.

mod patience;
mod probe;

use std::rc::Rc;

use wire::guest::boot::{Boot, Booted, LAST_WORDS_BYTES_MAX, PROCESS_ID};
use wire::guest::{Command, Done, Error, Exec, Outcome};

use self::patience::Patience;
use crate::agent::{Agent, Claimed};
use crate::connection::stream::Stream;
use crate::failure;
use crate::process::{Kept, keep_for_nobody};

/// Starts it, unless it was started, and waits until it is up if that was asked.
pub async fn boot(agent: &Agent, claimed: &Claimed, stream: &Stream, boot: Boot) -> Outcome {
    let kept = started(agent, claimed, boot.argv).await?;
    let Some(ready) = boot.ready else { return Ok(Done::Booted(unasked(&kept))) };
    probe::check(&ready.probe)?;
    let patience = Patience::new(agent, claimed, &kept, &ready);
    tokio::select! {
        biased;
        () = stream.cancelled() => Err(failure::cancelled()),
        booted = patience.wait() => Ok(Done::Booted(booted)),
    }
}

/// Its process, which is started if it was not. A node that goes away meanwhile changes nothing: the next one finds it.
async fn started(agent: &Agent, claimed: &Claimed, argv: Vec<String>) -> Result<Rc<Kept>, Error> {
    let _one_at_a_time = agent.booting.lock().await;
    if let Ok(kept) = agent.processes.get(PROCESS_ID) {
        return Ok(kept);
    }
    keep_for_nobody(agent, claimed, Exec::of(Command::Argv(argv)), PROCESS_ID).await
}

/// Nobody asked whether it is up.
fn unasked(kept: &Kept) -> Booted {
    Booted {
        is_up: true,
        waited_ms: 0,
        tries: 0,
        last_answer: String::new(),
        end: kept.end(),
        last_words: last_words(kept),
    }
}

/// What it said last: whole lines, where that is not the only one.
fn last_words(kept: &Kept) -> String {
    let bytes = kept.last_bytes(LAST_WORDS_BYTES_MAX);
    let text = String::from_utf8_lossy(&bytes);
    let is_cut = bytes.len() == LAST_WORDS_BYTES_MAX;
    let whole = text.split_once('\n').filter(|_| is_cut).map_or(&*text, |(_, rest)| rest);
    whole.trim().to_owned()
}
