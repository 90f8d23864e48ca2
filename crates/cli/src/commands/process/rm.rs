//! `atoll process rm`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::Several;
use crate::client::{Ask, Session};
use crate::output::print;

/// Forgets processes, and kills those that run; prints the ids of those that are gone.
#[derive(Debug, Args)]
pub struct Rm {
    #[command(flatten)]
    processes: Several,
}

impl Ask for Rm {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let removed = self.processes.each(session, async |path, id| {
            session.client.delete(path).await?;
            if session.output.is_json() { Ok(()) } else { print(id) }
        });
        Ok(removed.await)
    }
}
