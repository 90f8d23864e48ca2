//! `atoll run`: one command in a sandbox of its own.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use http::Method;
use wire::public::sandbox::Sandbox;

use super::sandbox::create::Wanted;
use crate::client::{OUR_FAILURE, Options, Session, report};
use crate::exec::{self, Given, Input, Program};
use crate::interrupts::Interrupts;

/// Runs one command in a new sandbox, streams what it says, exits with its code, and deletes the sandbox.
///
/// The exit code is the command's own: 128 and the signal's number if a signal ended it, 124 if its time was up, 125 if
/// it is not known how it ended or anything else failed.
#[derive(Debug, Args)]
pub struct Run {
    /// The template to make the sandbox from.
    template: String,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    program: Program,
    #[command(flatten)]
    options: Options,
}

impl Run {
    /// Runs it; the exit code is the command's.
    pub async fn run(self) -> ExitCode {
        self.tried().await.unwrap_or_else(|error| report(&error, OUR_FAILURE))
    }

    async fn tried(self) -> Result<ExitCode> {
        let session = self.options.session()?;
        let mut interrupts = Interrupts::new()?;
        // Not to be interrupted: the server would finish the sandbox, and nobody would delete it.
        let wanted = self.wanted.of(Some(self.template));
        let sandbox: Sandbox = session.client.json(Method::POST, "/v1/sandbox", &wanted).await?;
        let order = self.program.command(Given::default(), Some(sandbox.timeout));
        let outcome = tokio::select! {
            outcome = exec::run(&session, sandbox.id.as_str(), order, Input::None) => outcome,
            code = interrupts.next() => Ok(ExitCode::from(code)),
        };
        delete(&session, &sandbox, interrupts).await?;
        outcome
    }
}

/// Deletes the sandbox, unless somebody is too impatient for that.
async fn delete(session: &Session, sandbox: &Sandbox, mut interrupts: Interrupts) -> Result<()> {
    let path = format!("/v1/sandbox/{}", sandbox.id);
    tokio::select! {
        deleted = session.client.delete(&path) => deleted.context("the sandbox was not deleted"),
        _ = interrupts.next() => bail!("the sandbox {} was not deleted; it ends when its time is up", sandbox.id),
    }
}
