//! `atoll template build`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use http::Method;
use wire::node::{BuildEvent, BuiltImage};
use wire::public::template::BuildSystemTemplate;

use crate::client::{Ask, Client, Lines, Session};
use crate::output::{note, print};

/// Builds one of the templates we ship the recipe of, or finds it built. Needs an operator's key.
#[derive(Debug, Args)]
pub struct Build {
    /// Its name, such as `system/debian:bookworm`.
    name: String,
    /// Fails where the mirror has other packages than the template is locked to.
    #[arg(long)]
    locked: bool,
}

impl Ask for Build {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let built = build(&session.client, &self.name, self.locked).await?;
        if session.output.is_json() {
            session.output.value(&serde_json::to_value(&built)?)?;
        } else {
            let size_mib = built.size_bytes / (1024 * 1024);
            let how = if built.built_now { "built" } else { "was built already" };
            print(&format!("{} {how}: {} ({size_mib} MiB)", self.name, built.digest))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Builds a system template, or finds it built; progress goes to standard error.
///
/// # Errors
/// When the server cannot be reached or refuses, or the build fails.
pub async fn build(client: &Client, name: &str, locked: bool) -> Result<BuiltImage> {
    let order = BuildSystemTemplate { name: name.to_owned(), locked: locked.then_some(true) };
    follow(client.lines(Method::POST, "/v1/template/system", &order).await?).await
}

async fn follow(mut lines: Lines) -> Result<BuiltImage> {
    while let Some(line) = lines.next().await? {
        match serde_json::from_str(&line).context("an event this version does not know")? {
            BuildEvent::Progress(progress) => note(&format!("  {}", progress.message)),
            BuildEvent::Done(built) => return Ok(built),
            BuildEvent::Failed(failure) => bail!(failure.message),
        }
    }
    bail!("the server stopped talking before the build ended")
}
