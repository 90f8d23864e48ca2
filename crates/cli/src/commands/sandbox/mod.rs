//! `atoll sandbox`: machines, and what runs in them.

pub mod create;
mod exec;
mod get;
mod inspect;
mod ls;
mod named;
mod rm;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::client::{Ask, Session};

pub use named::{Named, resolve};

/// What can be asked of sandboxes.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Create(create::Create),
    Ls(ls::Ls),
    Get(get::Get),
    Exec(exec::Exec),
    Inspect(inspect::Inspect),
    Rm(rm::Rm),
}

impl Ask for Verb {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        match self {
            Self::Create(create) => create.ask(session).await,
            Self::Ls(ls) => ls.ask(session).await,
            Self::Get(get) => get.ask(session).await,
            Self::Exec(exec) => exec.ask(session).await,
            Self::Inspect(inspect) => inspect.ask(session).await,
            Self::Rm(rm) => rm.ask(session).await,
        }
    }
}
