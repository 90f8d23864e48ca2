//! `atoll team ls`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use wire::public::team::TeamList;

use crate::client::{Ask, Session};
use crate::commands::paging::Paging;
use crate::output::{Object, print};
use crate::table::Table;

/// Lists teams by name, each with what it has of what it may have.
#[derive(Debug, Args)]
pub struct Ls {
    #[command(flatten)]
    paging: Paging,
    /// Prints ids alone.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
}

impl Ask for Ls {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let list: Object<TeamList> =
            session.client.get(&format!("/v1/teams?{}", self.paging.query())).await?;
        if self.quiet {
            list.it.items.iter().try_for_each(|team| print(team.id.as_str()))?;
        } else {
            session.output.show(&list, |list| table(list).to_string())?;
        }
        self.paging.note_rest(session, list.it.items.len(), list.it.total_items);
        Ok(ExitCode::SUCCESS)
    }
}

fn table(list: &TeamList) -> Table {
    let mut table = Table::new(["ID", "NAME", "SANDBOXES", "VCPU", "MEMORY", "KEYS"]);
    for team in &list.items {
        let (used, limits) = (&team.used, &team.limits);
        table.row([
            team.id.to_string(),
            team.name.clone(),
            format!("{}/{}", used.sandboxes, limits.sandboxes),
            format!("{}/{}", used.vcpu, limits.vcpu),
            format!("{}/{} MiB", used.memory_mib, limits.memory_mib),
            format!("{}/{}", used.keys, limits.keys),
        ]);
    }
    table
}
