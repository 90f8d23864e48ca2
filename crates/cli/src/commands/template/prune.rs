//! `atoll template prune`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use wire::public::template::PruneTemplates;

use crate::client::{Ask, Session};
use crate::commands::pruned::show;
use crate::span::seconds;

/// Removes images and layers that no template and no sandbox needs. Needs an operator's key.
#[derive(Debug, Args)]
pub struct Prune {
    /// Shows what would go, and why, and lets it be.
    #[arg(long)]
    dry_run: bool,
    /// What was used within this time stays; also `15m` or `2h` [default: 1h].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    idle: Option<u32>,
}

impl Ask for Prune {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let order = PruneTemplates { dry_run: Some(self.dry_run), idle_seconds: self.idle };
        let pruned = session.client.json(Method::POST, "/v1/templates/prune", &order).await?;
        show(session, &pruned, self.dry_run)
    }
}
