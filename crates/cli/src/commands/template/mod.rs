//! `atoll template`: what sandboxes are made from.

mod build;
mod create;
mod credentials;
mod get;
mod ls;
mod named;
mod prune;
mod rename;
mod rm;
mod spec;
mod update;
mod wait;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::client::{Ask, Session};

pub use build::build;

/// What can be asked of templates.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Create(Box<create::Create>),
    Ls(ls::Ls),
    Get(get::Get),
    Update(Box<update::Update>),
    Rename(rename::Rename),
    Rm(rm::Rm),
    Build(build::Build),
    Prune(prune::Prune),
}

impl Ask for Verb {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        match self {
            Self::Create(create) => create.ask(session).await,
            Self::Ls(ls) => ls.ask(session).await,
            Self::Get(get) => get.ask(session).await,
            Self::Update(update) => update.ask(session).await,
            Self::Rename(rename) => rename.ask(session).await,
            Self::Rm(rm) => rm.ask(session).await,
            Self::Build(build) => build.ask(session).await,
            Self::Prune(prune) => prune.ask(session).await,
        }
    }
}
