//! `atoll whoami`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use wire::public::team::Me;

use super::{key, team};
use crate::client::Options;
use crate::output::Object;
use crate::table::Table;

/// Shows which key this is, what it may, and what its team has.
#[derive(Debug, Args)]
pub struct Whoami {
    #[command(flatten)]
    options: Options,
}

impl Whoami {
    /// Asks.
    ///
    /// # Errors
    /// When the server cannot be reached or knows no such key.
    pub async fn run(self) -> Result<ExitCode> {
        let session = self.options.session()?;
        let me: Object<Me> = session.client.get("/v1/me").await?;
        session.output.show(&me, |me| facts(me, Timestamp::now()).to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn facts(me: &Me, now: Timestamp) -> Table {
    let mut facts = Table::facts();
    facts.fact("key", format!("{} ({})", me.key.name, me.key.id));
    facts.fact("opens", key::scopes(&me.key));
    facts.fact_if("expires", me.key.expires_at.as_deref().map(|at| crate::span::from_now(at, now)));
    facts.fact("team", format!("{} ({})", me.team.name, me.team.id));
    team::add_limits(&mut facts, &me.team);
    facts
}
