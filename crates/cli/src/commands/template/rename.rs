//! `atoll template rename`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use serde_json::json;

use super::named::resolve;
use crate::client::{Ask, Session};

/// Gives a template another name.
#[derive(Debug, Args)]
pub struct Rename {
    /// The template: its name or id.
    #[arg(value_name = "NAME")]
    name: String,
    /// The new name.
    #[arg(value_name = "NEW_NAME")]
    new_name: String,
}

impl Ask for Rename {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("/v1/template/{}", resolve(session, &self.name).await?);
        session.client.order(Method::PATCH, &path, &json!({ "name": self.new_name })).await?;
        Ok(ExitCode::SUCCESS)
    }
}
