//! What went, or would go, for people.

use std::process::ExitCode;

use anyhow::Result;
use wire::node::{Pruned, PrunedKind};

use crate::client::Session;
use crate::output::{Object, note};
use crate::size::size;
use crate::table::Table;

/// Shows it.
///
/// # Errors
/// When nobody reads it.
pub fn show(session: &Session, pruned: &Object<Pruned>, dry_run: bool) -> Result<ExitCode> {
    session.output.show(pruned, |pruned| table(pruned).to_string())?;
    let what = if dry_run { "would be freed" } else { "were freed" };
    note(&format!("{} {what}", size(pruned.it.bytes)));
    Ok(ExitCode::SUCCESS)
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
        PrunedKind::Snapshot => "snapshot",
        PrunedKind::Chunks => "chunks",
        PrunedKind::Draft => "draft",
    }
}
