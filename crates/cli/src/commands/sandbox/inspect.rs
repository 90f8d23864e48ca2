//! `atoll sandbox inspect`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use wire::public::sandbox::SandboxInspection;

use super::Named;
use crate::client::{Ask, Session};
use crate::output::Object;

/// Prints what the store, the node, the engine and the guest each say of one sandbox.
#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    sandbox: Named,
}

impl Ask for Inspect {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("{}/inspect", self.sandbox.path(session).await?);
        let views: Object<SandboxInspection> = session.client.get(&path).await?;
        session.output.show(&views, side_by_side)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn side_by_side(views: &SandboxInspection) -> String {
    let parties =
        [("store", &views.store), ("node", &views.node), ("engine", &views.engine), ("guest", &views.guest)];
    parties.map(|(party, view)| format!("── {party} says ──\n{view:#}\n")).concat()
}
