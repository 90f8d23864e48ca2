//! `atoll snapshot rm`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::named::resolve;
use crate::client::{Ask, Session};
use crate::commands::removal;

/// Deletes snapshots, and prints those that are gone. Sandboxes that went on from them are as they were.
#[derive(Debug, Args)]
pub struct Rm {
    /// Which: their names or ids.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

impl Ask for Rm {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        removal::each(session, &self.names, async |name| {
            session.client.delete(&format!("/v1/snapshot/{}", resolve(session, name).await?)).await
        })
        .await
    }
}
