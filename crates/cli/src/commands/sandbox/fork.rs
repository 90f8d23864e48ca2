//! `atoll sandbox fork`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use wire::public::snapshot::{Fork as Order, Forks};

use super::Named;
use crate::client::{Ask, Session};
use crate::output::Object;
use crate::span::seconds;

/// Copies a sandbox, memory and processes included, and prints the copies' ids when all of them run.
#[derive(Debug, Args)]
pub struct Fork {
    #[command(flatten)]
    sandbox: Named,
    /// How many copies.
    #[arg(long, short = 'n', default_value_t = 1)]
    count: u32,
    /// How long each lives; also `15m` or `2h` [default: as the sandbox].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    timeout: Option<u32>,
}

impl Ask for Fork {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("{}/fork", self.sandbox.path(session).await?);
        let order = Order { count: Some(self.count), timeout: self.timeout, auto_pause: None };
        let forks: Object<Forks> = session.client.json(Method::POST, &path, &order).await?;
        let ids = |forks: &Forks| forks.items.iter().map(|copy| copy.id.to_string()).collect::<Vec<_>>();
        session.output.show(&forks, |forks| ids(forks).join("\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}
