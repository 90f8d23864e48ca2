//! `atoll process`: programs in a sandbox that outlive the connection that started them.

mod attach;
mod get;
mod kill;
mod logs;
mod ls;
mod named;
mod rm;
mod start;
mod stdin;
mod wait;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::client::{Ask, Session};

use named::{Named, Several};

/// What can be asked of processes.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Ls(ls::Ls),
    #[command(visible_alias = "inspect")]
    Get(get::Get),
    Start(start::Start),
    Attach(attach::Attach),
    Logs(logs::Logs),
    Stdin(stdin::Stdin),
    #[command(visible_alias = "signal")]
    Kill(kill::Kill),
    Wait(wait::Wait),
    Rm(rm::Rm),
}

impl Ask for Verb {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        match self {
            Self::Ls(ls) => ls.ask(session).await,
            Self::Get(get) => get.ask(session).await,
            Self::Start(start) => start.ask(session).await,
            Self::Attach(attach) => attach.ask(session).await,
            Self::Logs(logs) => logs.ask(session).await,
            Self::Stdin(stdin) => stdin.ask(session).await,
            Self::Kill(kill) => kill.ask(session).await,
            Self::Wait(wait) => wait.ask(session).await,
            Self::Rm(rm) => rm.ask(session).await,
        }
    }
}
