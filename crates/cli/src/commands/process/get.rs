//! `atoll process get`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use wire::public::process::Process;

use super::Named;
use super::ls::state;
use crate::client::{Ask, Session};
use crate::output::Object;
use crate::span::ago;
use crate::table::Table;

/// Shows one process.
#[derive(Debug, Args)]
pub struct Get {
    #[command(flatten)]
    process: Named,
}

impl Ask for Get {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let process: Object<Process> = session.client.get(&self.process.path(session).await?).await?;
        session.output.show(&process, |process| facts(process, Timestamp::now()).to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn facts(process: &Process, now: Timestamp) -> Table {
    let mut facts = Table::facts();
    facts.fact("id", &process.id);
    facts.fact("pid", process.pid);
    facts.fact("command", &process.command);
    facts.fact("workdir", &process.cwd);
    facts.fact("state", state(process));
    facts.fact_if("signal", process.signal);
    facts.fact("started", ago(&process.started_at, now));
    facts.fact_if("ended", process.ended_at.as_deref().map(|at| ago(at, now)));
    facts.fact("stdin", if process.stdin { "open" } else { "closed" });
    facts.fact("output", format!("events {} to {} can be had", process.first_seq, process.last_seq));
    facts
}
