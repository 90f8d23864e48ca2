//! `atoll key`: what opens the API.

mod create;
mod ls;
mod revoke;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use wire::public::key::{Key, Scope};

use crate::client::{Ask, Session};

/// What can be asked of keys.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Create(create::Create),
    Ls(ls::Ls),
    Revoke(revoke::Revoke),
}

impl Ask for Verb {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        match self {
            Self::Create(create) => create.ask(session).await,
            Self::Ls(ls) => ls.ask(session).await,
            Self::Revoke(revoke) => revoke.ask(session).await,
        }
    }
}

/// What a key opens, in words.
pub fn scopes(key: &Key) -> String {
    key.scopes.iter().map(|scope| Scope::as_str(*scope)).collect::<Vec<_>>().join(", ")
}
