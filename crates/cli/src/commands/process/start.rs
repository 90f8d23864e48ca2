//! `atoll process start`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use wire::public::process::{Execute, Process};

use crate::client::{Ask, Session};
use crate::commands::sandbox::resolve;
use crate::exec::{Given, Program};
use crate::output::Object;
use crate::span::seconds;

/// Starts a program that goes on by itself, and prints its id when it runs.
///
/// `atoll process attach` shows what it says, from its first word on.
#[derive(Debug, Args)]
pub struct Start {
    /// The sandbox: its id, or as much of its beginning as fits no other.
    sandbox: String,
    /// Its id: 1 to 64 letters, digits, `-`, `_` and `.` [default: one is made].
    #[arg(long)]
    id: Option<String>,
    /// Keeps its input open, for `atoll process stdin`.
    #[arg(long, short)]
    interactive: bool,
    #[command(flatten)]
    given: Given,
    /// Seconds until it is killed; also `15m` or `2h` [default: when the sandbox ends].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    timeout: Option<u32>,
    #[command(flatten)]
    program: Program,
}

impl Ask for Start {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let sandbox = resolve(session, &self.sandbox).await?;
        let order = Execute {
            id: self.id,
            open_stdin: self.interactive.then_some(true),
            ..self.program.command(self.given, self.timeout)
        };
        let path = format!("/v1/sandbox/{sandbox}/process/start");
        let process: Object<Process> = session.client.json(Method::POST, &path, &order).await?;
        session.output.show(&process, |process| process.id.clone())?;
        Ok(ExitCode::SUCCESS)
    }
}
