//! `atoll team get`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use wire::public::team::Team;

use super::resolve;
use crate::client::{Ask, Session};
use crate::output::Object;
use crate::span::ago;
use crate::table::Table;

/// Shows one team: what it has, and what it may have.
#[derive(Debug, Args)]
pub struct Get {
    /// The team: its id or name.
    team: String,
}

impl Ask for Get {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("/v1/team/{}", resolve(session, &self.team).await?);
        let team: Object<Team> = session.client.get(&path).await?;
        session.output.show(&team, |team| facts(team, Timestamp::now()).to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What people want to know of a team.
pub fn facts(team: &Team, now: Timestamp) -> Table {
    let mut facts = Table::facts();
    facts.fact("id", &team.id);
    facts.fact("name", &team.name);
    add_limits(&mut facts, team);
    facts.fact("created", ago(&team.created_at, now));
    facts
}

/// What it has of what it may have.
pub fn add_limits(facts: &mut Table, team: &Team) {
    let (used, limits) = (&team.used, &team.limits);
    facts.fact("sandboxes", format!("{} of {}", used.sandboxes, limits.sandboxes));
    facts.fact("vcpu", format!("{} of {}", used.vcpu, limits.vcpu));
    facts.fact("memory", format!("{} of {} MiB", used.memory_mib, limits.memory_mib));
    facts.fact("keys", format!("{} of {}", used.keys, limits.keys));
    facts.fact("templates", format!("{} of {}", used.templates, limits.templates));
    let (steady, burst) = (limits.requests_per_second, limits.requests_burst);
    facts.fact("requests", format!("{steady} a second, {burst} at once"));
}
