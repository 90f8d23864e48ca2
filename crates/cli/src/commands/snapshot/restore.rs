//! `atoll snapshot restore`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use wire::public::sandbox::Sandbox;
use wire::public::snapshot::RestoreSnapshot;

use crate::client::{Ask, Session};
use crate::output::Object;
use crate::span::seconds;

/// Makes a sandbox that goes on from a snapshot, and prints its id when it runs.
#[derive(Debug, Args)]
pub struct Restore {
    /// The snapshot's name.
    name: String,
    /// How long the sandbox lives; also `15m` or `2h` [default: 5m].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    timeout: Option<u32>,
    /// Pauses the sandbox, instead of ending it, when its time is up.
    #[arg(long)]
    auto_pause: bool,
}

impl Ask for Restore {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let order = RestoreSnapshot {
            snapshot_name: self.name,
            timeout: self.timeout,
            auto_pause: self.auto_pause.then_some(true),
            network_policy: None,
        };
        let sandbox: Object<Sandbox> =
            session.client.json(Method::POST, "/v1/snapshot/restore", &order).await?;
        session.output.show(&sandbox, |sandbox| sandbox.id.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
