//! `atoll key ls`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use wire::public::key::KeyList;

use super::scopes;
use crate::client::{Ask, Session};
use crate::commands::paging::Paging;
use crate::commands::team;
use crate::output::{Object, print};
use crate::span::{ago, from_now};
use crate::table::Table;

/// Lists the team's keys, the oldest first; an operator's lists all. What opens is not in it.
#[derive(Debug, Args)]
pub struct Ls {
    /// Only those of this team, for operators: its id or name.
    #[arg(long)]
    team: Option<String>,
    #[command(flatten)]
    paging: Paging,
    /// Prints ids alone.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
}

impl Ask for Ls {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let team = match &self.team {
            Some(team) => format!("&team={}", team::resolve(session, team).await?),
            None => String::new(),
        };
        let list: Object<KeyList> =
            session.client.get(&format!("/v1/keys?{}{team}", self.paging.query())).await?;
        if self.quiet {
            list.it.items.iter().try_for_each(|key| print(key.id.as_str()))?;
        } else {
            session.output.show(&list, |list| table(list, Timestamp::now()).to_string())?;
        }
        self.paging.note_rest(session, list.it.items.len(), list.it.total_items);
        Ok(ExitCode::SUCCESS)
    }
}

fn table(list: &KeyList, now: Timestamp) -> Table {
    let mut table = Table::new(["ID", "NAME", "TEAM", "OPENS", "CREATED", "USED", "EXPIRES"]);
    for key in &list.items {
        table.row([
            key.id.to_string(),
            key.name.clone(),
            key.team.to_string(),
            scopes(key),
            ago(&key.created_at, now),
            key.last_used_at.as_deref().map_or_else(|| "never".to_owned(), |at| ago(at, now)),
            key.expires_at.as_deref().map_or_else(|| "never".to_owned(), |at| from_now(at, now)),
        ]);
    }
    table
}
