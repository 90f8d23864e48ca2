//! `atoll sandbox get`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use wire::public::sandbox::Sandbox;

use super::Named;
use crate::client::{Ask, Session};
use crate::output::Object;
use crate::span::{ago, until};
use crate::table::Table;

/// Shows one sandbox.
#[derive(Debug, Args)]
pub struct Get {
    #[command(flatten)]
    sandbox: Named,
}

impl Ask for Get {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = self.sandbox.path(session).await?;
        let sandbox: Object<Sandbox> = session.client.get(&path).await?;
        session.output.show(&sandbox, |sandbox| facts(sandbox, Timestamp::now()).to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What people want to know of a sandbox.
pub fn facts(sandbox: &Sandbox, now: Timestamp) -> Table {
    let mut facts = Table::facts();
    facts.fact("id", &sandbox.id);
    facts.fact("template", &sandbox.template_id);
    facts.fact("state", sandbox.state);
    facts.fact_if("reason", sandbox.reason);
    facts.fact_if("seen", sandbox.reason_detail.as_ref());
    facts.fact("vcpu", sandbox.vcpu);
    facts.fact("memory", format!("{} MiB", sandbox.memory));
    facts.fact("disk", format!("{} MiB", sandbox.disk));
    let ports: Vec<_> = sandbox.public_ports.iter().map(u16::to_string).collect();
    facts.fact_if("public", Some(ports.join(", ")).filter(|ports| !ports.is_empty()));
    facts.fact("created", ago(&sandbox.created_at, now));
    facts.fact_if("ends", sandbox.timeout_at.map(|at| until(at, now)));
    facts
}
