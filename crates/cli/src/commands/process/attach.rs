//! `atoll process attach`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;
use wire::public::process::{ProcessEvent, ProcessEventKind};

use super::Named;
use crate::client::{Ask, Events, OUR_FAILURE, Session, pieces, report};
use crate::exec::{feed, listen, show};
use crate::interrupts::Interrupts;
use crate::output::{Object, note, print};

/// Shows what a process says, from its first word on, until it ends; the exit code is its own.
///
/// Ctrl-C leaves it, and it goes on. With --json each event is a line.
#[derive(Debug, Args)]
pub struct Attach {
    #[command(flatten)]
    process: Named,
    /// The number of the first event to show: `last_seq` of `get --json`, or `seq` of an event, and one more.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from: u64,
    /// Passes standard input on; its end too.
    #[arg(long, short)]
    interactive: bool,
}

impl Ask for Attach {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        Ok(self.tried(session).await.unwrap_or_else(|error| report(&error, OUR_FAILURE)))
    }
}

impl Attach {
    async fn tried(self, session: &Session) -> Result<ExitCode> {
        let process = self.process.path(session).await?;
        let mut events = open(session, &process, self.from).await?;
        let mut interrupts = Interrupts::new()?;
        let heard = async {
            if session.output.is_json() { lines(&mut events).await } else { listen(&mut events).await }
        };
        tokio::select! {
            code = heard => code.map(ExitCode::from),
            failure = input(session, &process, self.interactive) => Err(failure),
            code = interrupts.next() => {
                note("atoll: left; it goes on");
                Ok(ExitCode::from(code))
            }
        }
    }
}

/// The events of a process from this number on.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn open(session: &Session, process: &str, from: u64) -> Result<Events> {
    let after = from.checked_sub(1).map(|after| format!("?after={after}")).unwrap_or_default();
    session.client.hear(&format!("{process}/attach{after}")).await
}

/// Prints each event as it came; the exit code of the last.
async fn lines(events: &mut Events) -> Result<u8> {
    while let Some(event) = events.next::<Object<ProcessEvent>>().await? {
        print(&Value::to_string(event.raw()))?;
        let is_last =
            matches!(event.it.event, ProcessEventKind::Exit { .. } | ProcessEventKind::Error { .. });
        if is_last && let Some(code) = show(event.it.event)? {
            return Ok(code);
        }
    }
    bail!("the stream ended before the process did")
}

/// Passes our standard input on, if it is wanted. Returns only when that fails.
async fn input(session: &Session, process: &str, wanted: bool) -> anyhow::Error {
    if wanted && let Err(failure) = feed(session, process, pieces(std::io::stdin()), true).await {
        return failure;
    }
    std::future::pending().await
}
