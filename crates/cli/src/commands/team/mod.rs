//! `atoll team`: who owns sandboxes and keys, and how much each may have. For operators.

mod create;
mod get;
mod limits;
mod ls;
mod named;
mod rm;
mod set;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::client::{Ask, Session};

pub use get::add_limits;
pub use named::resolve;

/// What can be asked of teams.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Create(create::Create),
    Ls(ls::Ls),
    Get(get::Get),
    Set(set::Set),
    Rm(rm::Rm),
}

impl Ask for Verb {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        match self {
            Self::Create(create) => create.ask(session).await,
            Self::Ls(ls) => ls.ask(session).await,
            Self::Get(get) => get.ask(session).await,
            Self::Set(set) => set.ask(session).await,
            Self::Rm(rm) => rm.ask(session).await,
        }
    }
}
