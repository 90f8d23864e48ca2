//! `atoll files`: what lies in sandboxes.

mod cat;
mod place;
mod write;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::client::{Ask, Session};

pub use place::Place;

/// What can be asked of files.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Cat(cat::Cat),
    Write(write::Write),
}

impl Ask for Verb {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        match self {
            Self::Cat(cat) => cat.ask(session).await,
            Self::Write(write) => write.ask(session).await,
        }
    }
}
