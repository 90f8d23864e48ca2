//! `atoll team rm`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::resolve;
use crate::client::{Ask, Session};
use crate::commands::removal;

/// Deletes teams that have no sandboxes, with their keys, and prints those that are gone.
#[derive(Debug, Args)]
pub struct Rm {
    /// Which: their ids or names.
    #[arg(value_name = "TEAM", required = true)]
    teams: Vec<String>,
}

impl Ask for Rm {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        removal::each(session, &self.teams, async |team| {
            session.client.delete(&format!("/v1/team/{}", resolve(session, team).await?)).await
        })
        .await
    }
}
