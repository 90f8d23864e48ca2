//! `atoll snapshot rm`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::named::resolve;
use crate::client::{Ask, Session, report};
use crate::output::print;

/// Deletes snapshots, and prints those that are gone. Sandboxes that went on from them are as they were.
#[derive(Debug, Args)]
pub struct Rm {
    /// Which: their names or ids.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

impl Ask for Rm {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        for name in &self.names {
            match delete(session, name).await {
                Ok(()) if session.output.is_json() => {}
                Ok(()) => print(name)?,
                Err(error) => code = report(&error.context(name.clone()), 1),
            }
        }
        Ok(code)
    }
}

async fn delete(session: &Session, name: &str) -> Result<()> {
    session.client.delete(&format!("/v1/snapshot/{}", resolve(session, name).await?)).await
}
