//! What goes on from a checkpoint is made its own again: its token, its clock, its names, its randomness, and last
//! whatever its owner has programs for.
//!
//! Nothing here fails for what is in its way inside: there is nothing to go back to. What is left as it was is noted, and
//! everything that may hang has a bound.

mod clock;
mod entropy;
mod generation;
mod hooks;
mod names;

use std::sync::Arc;
use std::time::Duration;

use wire::guest::renew::{NOTE_BYTES_MAX, NOTES_MAX, Renew, RenewKind, Renewed};
use wire::guest::{Done, Error, ErrorCode, Outcome};

use self::entropy::Entropy;
use self::hooks::{Hooks, Setting};
use self::names::Names;
use crate::agent::{Agent, Claimed, Session};
use crate::sandbox::Sandbox;
use crate::{failure, init};

pub use self::generation::publish_first;

/// The files of a sandbox have so long to be written, in seconds.
const FILES_SECONDS_MAX: u64 = 10;

/// What was left as it was, for people.
#[derive(Default)]
pub struct Notes(Vec<String>);

impl Notes {
    /// One more; beyond [`NOTES_MAX`] they say nothing new.
    pub fn add(&mut self, note: impl Into<String>) {
        let mut note = note.into();
        note.truncate(note.floor_char_boundary(NOTE_BYTES_MAX));
        if self.0.len() < NOTES_MAX {
            self.0.push(note);
        }
    }

    /// Notes a failure.
    pub fn add_failure(&mut self, result: Result<(), impl Into<String>>) {
        result.unwrap_or_else(|why| self.add(why));
    }
}

/// Renews it.
pub async fn renew(session: &Session, claimed: &Claimed, order: Renew) -> Outcome {
    let agent = &*session.agent;
    let entropy = Entropy::parse(&order.entropy)?;
    let _one_at_a_time = agent.renewing.lock().await;
    session.change_token(claimed, order.token.clone())?;
    if order.kind != RenewKind::Wake {
        // Whoever waits, waits for the sandbox it was copied from.
        agent.parting.forget_all();
    }
    let mut notes = Notes::default();
    let is_machine = claimed.sandbox.root.is_machine() && init::is_first_process();
    let clock_stepped_ms = if is_machine { clock::set(order.wall_ms, &mut notes) } else { 0 };
    let generation_id = entropy.generation_id().map_err(|error| failure::of("drawing a number", error))?;
    let inside =
        Inside { entropy, names: names(claimed, &order), generation_id: generation_id.clone(), is_machine };
    let hooks = write(agent, claimed, inside, &mut notes).await;
    let setting =
        Setting { kind: order.kind, hostname: order.hostname, generation_id: generation_id.clone() };
    let ends = hooks.run_all(agent, claimed, &setting, &mut notes).await;
    Ok(Done::Renewed(Renewed { clock_stepped_ms, generation_id, hooks: ends, notes: notes.0 }))
}

/// The names it gives up and takes on; none where it goes on as itself.
fn names(claimed: &Claimed, order: &Renew) -> Option<Names> {
    let is_another = order.kind != RenewKind::Wake;
    is_another
        .then(|| Names { old: claimed.hostname.replace(order.hostname.clone()), new: order.hostname.clone() })
}

/// What is written inside.
struct Inside {
    entropy: Entropy,
    names: Option<Names>,
    generation_id: String,
    is_machine: bool,
}

/// Writes it, and returns what is to be run then.
async fn write(agent: &Agent, claimed: &Claimed, inside: Inside, notes: &mut Notes) -> Hooks {
    let sandbox = Arc::clone(&claimed.sandbox);
    let written =
        async { agent.files.start(None, move || Ok(inside.write(&sandbox))).await?.await.map_err(lost)? };
    let late =
        |_| Error::new(ErrorCode::Io, format!("its files were not written within {FILES_SECONDS_MAX} s"));
    let written = tokio::time::timeout(Duration::from_secs(FILES_SECONDS_MAX), written).await;
    match written.map_err(late).and_then(std::convert::identity) {
        Ok((hooks, written)) => {
            written.0.into_iter().for_each(|note| notes.add(note));
            hooks
        }
        Err(error) => {
            notes.add(error.message);
            Hooks::default()
        }
    }
}

fn lost(_: impl std::error::Error) -> Error {
    Error::new(ErrorCode::Io, "whoever wrote its files was lost")
}

impl Inside {
    fn write(self, sandbox: &Sandbox) -> (Hooks, Notes) {
        let (root, mut notes) = (&sandbox.root, Notes::default());
        if let Some(names) = &self.names {
            names.take_on(root, self.is_machine, &mut notes);
            names::renew_machine_id(root, &self.entropy, &mut notes);
        }
        if self.is_machine {
            notes.add_failure(self.entropy.stir());
        }
        notes.add_failure(generation::publish(root, &self.generation_id).map_err(|error| error.message));
        (Hooks::find(root, &mut notes), notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_few_and_short() {
        let mut notes = Notes::default();
        for _ in 0..2 * NOTES_MAX {
            notes.add("é".repeat(NOTE_BYTES_MAX));
        }
        assert_eq!(notes.0.len(), NOTES_MAX);
        assert!(notes.0.iter().all(|note| note.len() <= NOTE_BYTES_MAX));
    }
}
