//! `atoll sandbox pause`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use wire::public::sandbox::Sandbox;

use super::Named;
use crate::client::{Ask, Session};
use crate::output::Object;

/// Pauses a sandbox, and prints its state when it takes no compute any more; whatever is asked of it next wakes it.
#[derive(Debug, Args)]
pub struct Pause {
    #[command(flatten)]
    sandbox: Named,
}

impl Ask for Pause {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("{}/pause", self.sandbox.path(session).await?);
        let nothing = serde_json::json!({});
        let sandbox: Object<Sandbox> = session.client.json(Method::POST, &path, &nothing).await?;
        session.output.show(&sandbox, |sandbox| format!("{} is {}", sandbox.id, sandbox.state))?;
        Ok(ExitCode::SUCCESS)
    }
}
