//! `atoll key revoke`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::client::{Ask, Session, encoded};
use crate::commands::removal;

/// Revokes keys, and prints the ids of those that open nothing any more. It holds from the next request on.
#[derive(Debug, Args)]
pub struct Revoke {
    /// Which: their ids.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

impl Ask for Revoke {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        removal::each(session, &self.ids, async |id| {
            session.client.delete(&format!("/v1/key/{}", encoded(id))).await
        })
        .await
    }
}
