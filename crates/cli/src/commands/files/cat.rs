//! `atoll files cat`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use serde::Serialize;

use super::Place;
use crate::client::{Ask, Session, piece};
use crate::output::pass_on;

/// Prints a file.
#[derive(Debug, Args)]
pub struct Cat {
    /// Which.
    #[arg(value_name = "ID:PATH")]
    place: Place,
    /// Only its first lines, so many.
    #[arg(long, value_name = "LINES", conflicts_with = "tail")]
    head: Option<u64>,
    /// Only its last lines, so many.
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
}

#[derive(Serialize)]
struct Read<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tail: Option<u64>,
}

impl Ask for Cat {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = self.place.operation(session, "read-file").await?;
        let order = Read { path: &self.place.path, head: self.head, tail: self.tail };
        let mut content = session.client.asked(Method::POST, &path, &order).await?.into_body();
        while let Some(bytes) = piece(&mut content).await? {
            pass_on(&bytes)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
