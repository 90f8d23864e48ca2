//! `atoll sandbox`: machines, and what runs in them.

mod cp;
pub mod create;
mod exec;
mod expose;
mod fork;
mod get;
mod inspect;
mod ls;
mod named;
mod pause;
mod rm;
mod shell;
mod timeout;
mod url;
mod urls;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::client::{Ask, Session};

pub use named::{Named, PAGE_SIZE, resolve};

/// What can be asked of sandboxes.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Create(create::Create),
    Ls(ls::Ls),
    Get(get::Get),
    Exec(exec::Exec),
    Shell(shell::Shell),
    Cp(cp::Cp),
    Inspect(inspect::Inspect),
    Timeout(timeout::Timeout),
    Pause(pause::Pause),
    Expose(expose::Expose),
    Url(url::Url),
    Urls(urls::Urls),
    Fork(fork::Fork),
    Rm(rm::Rm),
}

impl Ask for Verb {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        match self {
            Self::Create(create) => create.ask(session).await,
            Self::Ls(ls) => ls.ask(session).await,
            Self::Get(get) => get.ask(session).await,
            Self::Exec(exec) => exec.ask(session).await,
            Self::Shell(shell) => shell.ask(session).await,
            Self::Cp(cp) => cp.ask(session).await,
            Self::Inspect(inspect) => inspect.ask(session).await,
            Self::Timeout(timeout) => timeout.ask(session).await,
            Self::Pause(pause) => pause.ask(session).await,
            Self::Expose(expose) => expose.ask(session).await,
            Self::Url(url) => url.ask(session).await,
            Self::Urls(urls) => urls.ask(session).await,
            Self::Fork(fork) => fork.ask(session).await,
            Self::Rm(rm) => rm.ask(session).await,
        }
    }
}
