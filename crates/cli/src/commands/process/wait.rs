//! `atoll process wait`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use http::Method;
use wire::public::process::{self, Process, ProcessState};

use super::Several;
use crate::client::{Ask, Session};
use crate::output::Object;
use crate::span::seconds;

/// Waits until processes have ended, and prints their exit codes.
#[derive(Debug, Args)]
pub struct Wait {
    #[command(flatten)]
    processes: Several,
    /// Seconds to wait for each, at most; also `15m` or `2h`. One that then still runs is a failure.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    timeout: Option<u32>,
}

impl Ask for Wait {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let waited = self.processes.each(session, async |path, _| {
            let ended = ended(session, path, self.timeout).await?;
            session.output.show(&ended, |process| process.exit_code.unwrap_or_default().to_string())
        });
        Ok(waited.await)
    }
}

/// Asks until it has ended: without a bound of ours the server still has one.
async fn ended(session: &Session, path: &str, timeout: Option<u32>) -> Result<Object<Process>> {
    loop {
        let order = process::Wait { timeout };
        let process: Object<Process> =
            session.client.json(Method::POST, &format!("{path}/wait"), &order).await?;
        match (process.it.state, timeout) {
            (ProcessState::Ended, _) => return Ok(process),
            (ProcessState::Running, None) => {}
            (ProcessState::Running, Some(seconds)) => bail!("it still runs after {seconds} s"),
        }
    }
}
