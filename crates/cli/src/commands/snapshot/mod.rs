//! `atoll snapshot`: what sandboxes were at some moment.

mod create;
mod ls;
mod named;
mod prune;
mod restore;
mod rm;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::client::{Ask, Session};

/// What can be asked of snapshots.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Create(create::Create),
    Ls(ls::Ls),
    Restore(restore::Restore),
    Rm(rm::Rm),
    Prune(prune::Prune),
}

impl Ask for Verb {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        match self {
            Self::Create(create) => create.ask(session).await,
            Self::Ls(ls) => ls.ask(session).await,
            Self::Restore(restore) => restore.ask(session).await,
            Self::Rm(rm) => rm.ask(session).await,
            Self::Prune(prune) => prune.ask(session).await,
        }
    }
}
