//! `atoll sandbox shell`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::named::resolve;
use crate::client::{Ask, OUR_FAILURE, Session, report};
use crate::exec::{self, Given, Input};

/// Opens the user's login shell in a sandbox, in a terminal of the size of ours.
///
/// The exit code is the shell's own; 125 if it is not known how it ended or anything else failed.
#[derive(Debug, Args)]
pub struct Shell {
    /// The sandbox: its id, or as much of its beginning as fits no other.
    id: String,
    /// Where it starts, instead of the sandbox's workdir.
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<String>,
    #[command(flatten)]
    given: Given,
}

impl Ask for Shell {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        Ok(self.tried(session).await.unwrap_or_else(|error| report(&error, OUR_FAILURE)))
    }
}

impl Shell {
    async fn tried(self, session: &Session) -> Result<ExitCode> {
        crate::terminal::required()?;
        let sandbox = resolve(session, &self.id).await?;
        exec::attend(session, sandbox.as_str(), self.given.terminal(self.workdir), Input::Ours).await
    }
}
