//! `atoll team rm`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::resolve;
use crate::client::{Ask, Session, report};
use crate::output::print;

/// Deletes teams that have no sandboxes, with their keys, and prints those that are gone.
#[derive(Debug, Args)]
pub struct Rm {
    /// Which: their ids or names.
    #[arg(value_name = "TEAM", required = true)]
    teams: Vec<String>,
}

impl Ask for Rm {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        for team in &self.teams {
            match delete(session, team).await {
                Ok(()) if session.output.is_json() => {}
                Ok(()) => print(team)?,
                Err(error) => code = report(&error.context(team.clone()), 1),
            }
        }
        Ok(code)
    }
}

async fn delete(session: &Session, team: &str) -> Result<()> {
    session.client.delete(&format!("/v1/team/{}", resolve(session, team).await?)).await
}
