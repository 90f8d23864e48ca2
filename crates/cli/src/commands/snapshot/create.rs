//! `atoll snapshot create`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use wire::public::snapshot::{Snapshot, TakeSnapshot};

use crate::client::{Ask, Session};
use crate::commands::sandbox::Named;
use crate::output::Object;

/// Takes a snapshot of a sandbox, and prints its name when it is durable. The sandbox goes on.
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    sandbox: Named,
    /// What to call it [default: its id].
    #[arg(long)]
    name: Option<String>,
    /// Ends the sandbox with it: nothing happens inside that is not in the snapshot.
    #[arg(long)]
    kill: bool,
}

impl Ask for Create {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("{}/snapshot/create", self.sandbox.path(session).await?);
        let order = TakeSnapshot { name: self.name, kill_sandbox_after: self.kill.then_some(true) };
        let snapshot: Object<Snapshot> = session.client.json(Method::POST, &path, &order).await?;
        session.output.show(&snapshot, |snapshot| snapshot.name.clone())?;
        Ok(ExitCode::SUCCESS)
    }
}
