//! `atoll template`: what sandboxes are made from.

mod build;
mod get;
mod ls;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::client::{Ask, Session};

pub use build::build;

/// What can be asked of templates.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Ls(ls::Ls),
    Get(get::Get),
    Build(build::Build),
}

impl Ask for Verb {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        match self {
            Self::Ls(ls) => ls.ask(session).await,
            Self::Get(get) => get.ask(session).await,
            Self::Build(build) => build.ask(session).await,
        }
    }
}
