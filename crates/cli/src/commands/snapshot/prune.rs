//! `atoll snapshot prune`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use wire::public::snapshot::PruneSnapshots;

use crate::client::{Ask, Session};
use crate::commands::pruned::show;

/// Removes bytes of snapshots that nobody needs, as it is done now and then anyway. Needs an operator's key.
#[derive(Debug, Args)]
pub struct Prune {
    /// Shows what would go, and why, and lets it be.
    #[arg(long)]
    dry_run: bool,
}

impl Ask for Prune {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let order = PruneSnapshots { dry_run: Some(self.dry_run) };
        let pruned = session.client.json(Method::POST, "/v1/snapshots/prune", &order).await?;
        show(session, &pruned, self.dry_run)
    }
}
