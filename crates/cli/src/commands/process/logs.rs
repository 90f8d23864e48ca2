//! `atoll process logs`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use wire::public::process::{Process, ProcessEvent};

use super::Named;
use super::attach::open;
use crate::client::{Ask, Session};
use crate::exec::show;
use crate::output::print;

/// Prints what a process has said so far, as much of it as is kept.
#[derive(Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    process: Named,
    /// The number of the first event to show.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from: u64,
    /// Goes on until it ends.
    #[arg(long, short)]
    follow: bool,
}

impl Ask for Logs {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = self.process.path(session).await?;
        let process: Process = session.client.get(&path).await?;
        if self.from > process.last_seq && !self.follow {
            return Ok(ExitCode::SUCCESS);
        }
        let last = if self.follow { u64::MAX } else { process.last_seq };
        let mut events = open(session, &path, self.from).await?;
        while let Some(data) = events.data().await? {
            let event: ProcessEvent = serde_json::from_str(&data)?;
            // The last one ends the stream by itself.
            let ended = if session.output.is_json() {
                print(&data)?;
                None
            } else {
                show(event.event)?
            };
            if ended.is_some() || event.seq >= last {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
