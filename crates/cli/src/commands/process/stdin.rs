//! `atoll process stdin`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::Named;
use crate::client::{Ask, Session, pieces};
use crate::exec::{Fed, feed};

/// Passes standard input on to a process that was started with -i, as it comes.
#[derive(Debug, Args)]
pub struct Stdin {
    #[command(flatten)]
    process: Named,
    /// Then ends its input.
    #[arg(long)]
    eof: bool,
}

impl Ask for Stdin {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let process = self.process.path(session).await?;
        match feed(session, &process, pieces(std::io::stdin()), self.eof).await? {
            Fed::All => Ok(ExitCode::SUCCESS),
            Fed::Unread => {
                bail!("the process takes no input: it has ended, or was started without -i, or closed it")
            }
        }
    }
}
