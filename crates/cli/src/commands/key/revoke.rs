//! `atoll key revoke`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::client::{Ask, Session, encoded, report};
use crate::output::print;

/// Revokes keys, and prints the ids of those that open nothing any more. It holds from the next request on.
#[derive(Debug, Args)]
pub struct Revoke {
    /// Which: their ids.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

impl Ask for Revoke {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        for id in &self.ids {
            match session.client.delete(&format!("/v1/key/{}", encoded(id))).await {
                Ok(()) if session.output.is_json() => {}
                Ok(()) => print(id)?,
                Err(error) => code = report(&error.context(id.clone()), 1),
            }
        }
        Ok(code)
    }
}
