//! `atoll files write`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::Place;
use crate::client::{Ask, Session, encoded, from_reader};

/// Writes standard input to a file, which changes when all has come.
#[derive(Debug, Args)]
pub struct Write {
    /// Which; missing directories are made.
    #[arg(value_name = "ID:PATH")]
    place: Place,
    /// Its permissions, such as 644 [default: those it has, or 644].
    #[arg(long, short, value_name = "OCTAL")]
    mode: Option<String>,
}

impl Ask for Write {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let operation = self.place.operation(session, "write-file").await?;
        let mode = self.mode.map(|mode| format!("&permissions={}", encoded(&mode))).unwrap_or_default();
        let path = format!("{operation}?path={}{mode}", encoded(&self.place.path));
        session.client.upload(&path, from_reader(std::io::stdin())).await?;
        Ok(ExitCode::SUCCESS)
    }
}
