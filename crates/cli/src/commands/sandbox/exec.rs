//! `atoll sandbox exec`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::named::resolve;
use crate::client::{Ask, OUR_FAILURE, Session, report};
use crate::exec::{self, Given, Input, Program};
use crate::span::seconds;

/// Runs a command in a sandbox as if it ran here.
///
/// The exit code is the command's own: 128 and the signal's number if a signal ended it, 124 if its time was up, 125 if
/// it is not known how it ended or anything else failed. With `-i` a command that reads nothing for five minutes although
/// there is something to read is given up.
#[derive(Debug, Args)]
pub struct Exec {
    /// The sandbox: its id, or as much of its beginning as fits no other.
    id: String,
    /// Passes standard input on, to its end.
    #[arg(long, short, conflicts_with = "json")]
    interactive: bool,
    /// Gives it a terminal, and ours the size of it; with -i also all that is typed.
    #[arg(long, short, conflicts_with = "json")]
    tty: bool,
    #[command(flatten)]
    given: Given,
    /// Seconds until it is killed; also `15m` or `2h` [default: when the sandbox ends].
    #[arg(long, value_name = "TIME", value_parser = seconds, conflicts_with = "tty")]
    timeout: Option<u32>,
    #[command(flatten)]
    program: Program,
}

impl Ask for Exec {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        Ok(self.tried(session).await.unwrap_or_else(|error| report(&error, OUR_FAILURE)))
    }
}

impl Exec {
    async fn tried(self, session: &Session) -> Result<ExitCode> {
        if self.tty {
            crate::terminal::required()?;
        }
        let sandbox = resolve(session, &self.id).await?;
        let input = if self.interactive { Input::Ours } else { Input::None };
        if self.tty {
            return exec::attend(session, sandbox.as_str(), self.program.in_terminal(self.given), input)
                .await;
        }
        let order = self.program.awaited(self.given, self.timeout);
        exec::run(session, sandbox.as_str(), order, input).await
    }
}
