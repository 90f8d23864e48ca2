//! `atoll sandbox exec`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::named::resolve;
use crate::client::{Ask, OUR_FAILURE, Session, report};
use crate::exec::{Given, Program, variable};
use crate::span::seconds;

/// Runs a command in a sandbox as if it ran here.
///
/// The exit code is the command's own: 128 and the signal's number if a signal ended it, 124 if its time was up, 125 if
/// it is not known how it ended or anything else failed.
#[derive(Debug, Args)]
pub struct Exec {
    /// The sandbox: its id, or as much of its beginning as fits no other.
    id: String,
    /// A variable for it; repeatable.
    #[arg(long = "env", short, value_name = "NAME=VALUE", value_parser = variable)]
    envs: Vec<(String, String)>,
    /// Seconds until it is killed; also `15m` or `2h` [default: when the sandbox ends].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
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
        let sandbox = resolve(session, &self.id).await?;
        let given = Given { envs: self.envs, timeout: self.timeout };
        self.program.run(session, sandbox.as_str(), given).await
    }
}
