//! How people name a process.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::client::{Session, encoded, report};
use crate::commands::sandbox::resolve;

/// A process.
#[derive(Debug, Clone, Args)]
pub struct Named {
    /// The sandbox: its id, or as much of its beginning as fits no other.
    sandbox: String,
    /// The process: its id.
    process: String,
}

impl Named {
    /// Its path in the API.
    ///
    /// # Errors
    /// When no sandbox or more than one fits.
    pub async fn path(&self, session: &Session) -> Result<String> {
        path(session, &self.sandbox, &self.process).await
    }
}

/// Processes of one sandbox.
#[derive(Debug, Clone, Args)]
pub struct Several {
    /// The sandbox: its id, or as much of its beginning as fits no other.
    sandbox: String,
    /// The processes: their ids.
    #[arg(value_name = "PROCESS", required = true)]
    processes: Vec<String>,
}

impl Several {
    /// Does the same to each, by its path in the API and its id. What fails is told, and the rest is done all the same.
    pub async fn each(
        &self,
        session: &Session,
        mut act: impl AsyncFnMut(&str, &str) -> Result<()>,
    ) -> ExitCode {
        let mut code = ExitCode::SUCCESS;
        for id in &self.processes {
            let done = async { act(&path(session, &self.sandbox, id).await?, id).await };
            if let Err(error) = done.await {
                code = report(&error.context(id.clone()), 1);
            }
        }
        code
    }
}

async fn path(session: &Session, sandbox: &str, process: &str) -> Result<String> {
    let sandbox = resolve(session, sandbox).await?;
    Ok(format!("/v1/sandbox/{sandbox}/process/{}", encoded(process)))
}
