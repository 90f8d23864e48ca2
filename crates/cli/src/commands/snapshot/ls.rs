//! `atoll snapshot ls`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use wire::public::snapshot::SnapshotList;

use crate::client::{Ask, Session, encoded};
use crate::commands::paging::Paging;
use crate::output::Object;
use crate::size::size;
use crate::span::ago;
use crate::table::Table;

/// Lists the snapshots of the key's team, the newest first.
#[derive(Debug, Args)]
pub struct Ls {
    /// Only those whose name has this in it.
    #[arg(long, default_value = "")]
    query: String,
    #[command(flatten)]
    paging: Paging,
}

impl Ask for Ls {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("/v1/snapshots?query={}&{}", encoded(&self.query), self.paging.query());
        let list: Object<SnapshotList> = session.client.get(&path).await?;
        session.output.show(&list, |list| table(list, Timestamp::now()).to_string())?;
        self.paging.note_rest(session, list.it.items.len(), list.it.total_items);
        Ok(ExitCode::SUCCESS)
    }
}

fn table(list: &SnapshotList, now: Timestamp) -> Table {
    let mut table = Table::new(["NAME", "ID", "SANDBOX", "SIZE", "CREATED"]);
    for snapshot in &list.items {
        table.row([
            snapshot.name.clone(),
            snapshot.id.to_string(),
            snapshot.sandbox_id.to_string(),
            size(snapshot.size_bytes),
            ago(&snapshot.created_at, now),
        ]);
    }
    table
}
