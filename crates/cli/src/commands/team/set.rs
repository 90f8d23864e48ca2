//! `atoll team set`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use http::Method;
use jiff::Timestamp;
use wire::public::team::Team;

use super::create::order;
use super::get::facts;
use super::limits::Limits;
use super::resolve;
use crate::client::{Ask, Session};
use crate::output::Object;

/// Changes a team's name or limits, and shows what they are now. What it has already is left to it.
#[derive(Debug, Args)]
pub struct Set {
    /// The team: its id or name.
    team: String,
    /// A new name.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    limits: Limits,
}

impl Ask for Set {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let order = order(self.name, self.limits.given());
        if order.is_empty() {
            bail!("nothing to change; `atoll team set --help` lists what can be");
        }
        let path = format!("/v1/team/{}", resolve(session, &self.team).await?);
        let team: Object<Team> = session.client.json(Method::PATCH, &path, &order).await?;
        session.output.show(&team, |team| facts(team, Timestamp::now()).to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
