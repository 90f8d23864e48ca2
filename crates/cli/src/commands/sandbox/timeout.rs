//! `atoll sandbox timeout`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgGroup, Args};
use http::Method;
use jiff::Timestamp;
use serde::Serialize;
use wire::public::sandbox::Sandbox;

use super::Named;
use crate::client::{Ask, Session};
use crate::output::Object;
use crate::span::{seconds, until};

/// Changes when a sandbox ends, and prints when that is.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("when").required(true).args(["time", "extend"]))]
pub struct Timeout {
    #[command(flatten)]
    sandbox: Named,
    /// So long from now: seconds, or `15m`, or `2h`.
    #[arg(value_parser = seconds)]
    time: Option<u32>,
    /// So much later than now planned; never more than eight hours from now.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    extend: Option<u32>,
}

#[derive(Serialize)]
struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extend: Option<u32>,
}

impl Ask for Timeout {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("{}/timeout", self.sandbox.path(session).await?);
        let change = Change { timeout: self.time, extend: self.extend };
        let sandbox: Object<Sandbox> = session.client.json(Method::POST, &path, &change).await?;
        session.output.show(&sandbox, |sandbox| told(sandbox, Timestamp::now()))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn told(sandbox: &Sandbox, now: Timestamp) -> String {
    match sandbox.timeout_at {
        Some(at) => format!("{} ends {}", sandbox.id, until(at, now)),
        None => format!("{} never ends by itself", sandbox.id),
    }
}
