//! `atoll template prune`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use wire::node::{Pruned, PrunedKind};
use wire::public::template::PruneTemplates;

use crate::client::{Ask, Session};
use crate::output::{Object, note};
use crate::size::size;
use crate::span::seconds;
use crate::table::Table;

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
        let pruned: Object<Pruned> = session.client.json(Method::POST, "/v1/templates/prune", &order).await?;
        session.output.show(&pruned, |pruned| table(pruned).to_string())?;
        let what = if self.dry_run { "would be freed" } else { "were freed" };
        note(&format!("{} {what}", size(pruned.it.bytes)));
        Ok(ExitCode::SUCCESS)
    }
}

fn table(pruned: &Pruned) -> Table {
    let mut table = Table::new(["KIND", "NAME", "SIZE", "REASON"]);
    for item in &pruned.items {
        table.row([kind(item.kind).to_owned(), item.name.clone(), size(item.bytes), item.reason.clone()]);
    }
    table
}

fn kind(kind: PrunedKind) -> &'static str {
    match kind {
        PrunedKind::Image => "image",
        PrunedKind::Layer => "layer",
        PrunedKind::PartialLayer => "part of a layer",
    }
}
