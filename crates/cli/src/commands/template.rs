//! `atoll template`: what sandboxes are made from.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use http::Method;
use wire::node::{BuildEvent, BuiltImage};
use wire::public::template::BuildSystemTemplate;

use crate::client::{Client, Lines, Server};

/// Builds templates.
#[derive(Debug, Args)]
pub struct TemplateCommand {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Builds one of the templates we ship the recipe of, or finds it built. Needs an operator's key.
    Build {
        /// Its name, such as `system/debian:bookworm`.
        name: String,
    },
}

impl TemplateCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses, or the build fails.
    pub async fn run(self) -> Result<ExitCode> {
        let client = self.server.client()?;
        let Verb::Build { name } = self.verb;
        let built = build(&client, &name).await?;
        let size_mib = built.size_bytes / (1024 * 1024);
        let how = if built.built_now { "built" } else { "was built already" };
        println!("{name} {how}: {} ({size_mib} MiB)", built.digest);
        Ok(ExitCode::SUCCESS)
    }
}

/// Builds a system template, or finds it built; progress goes to standard error.
///
/// # Errors
/// When the server cannot be reached or refuses, or the build fails.
pub async fn build(client: &Client, name: &str) -> Result<BuiltImage> {
    let order = BuildSystemTemplate { name: name.to_owned() };
    follow(client.lines(Method::POST, "/v1/template/system", &order).await?).await
}

async fn follow(mut lines: Lines) -> Result<BuiltImage> {
    while let Some(line) = lines.next().await? {
        match serde_json::from_str(&line).context("an event this version does not know")? {
            BuildEvent::Progress { message } => eprintln!("  {message}"),
            BuildEvent::Done(built) => return Ok(built),
            BuildEvent::Failed { message } => bail!(message),
        }
    }
    bail!("the server stopped talking before the build ended")
}
