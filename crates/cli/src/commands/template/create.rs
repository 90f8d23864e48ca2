//! `atoll template create`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use http::Method;
use serde_json::{Map, Value};
use wire::public::template::{Template, TemplateSpec};

use super::credentials::Credentials;
use super::spec::Spec;
use super::wait::Wait;
use crate::client::{Ask, Session};
use crate::output::Object;

/// Makes a template from an image, and prints its id when the image is here.
#[derive(Debug, Args)]
pub struct Create {
    /// What it is to be called.
    name: String,
    /// Where the image is: a registry's reference such as `python:3.12-slim`, `oci:PATH[:TAG]` or `docker-archive:FILE`.
    uri: String,
    /// Every team sees it. Needs an operator's key.
    #[arg(long)]
    public: bool,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    credentials: Credentials,
    #[command(flatten)]
    spec: Spec,
}

impl Ask for Create {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let mut order = fields(self.spec.given())?;
        order.insert("name".into(), self.name.into());
        order.insert("uri".into(), self.uri.into());
        if self.public {
            order.insert("visibility".into(), "public".into());
        }
        if let Some(credentials) = self.credentials.read()? {
            order.insert("credentials".into(), credentials);
        }
        let made: Object<Template> = session.client.json(Method::POST, "/v1/template", &order).await?;
        let made = self.wait.over(session, &made.it.id).await?;
        session.output.show(&made, |template| template.id.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The fields of a spec that are given.
pub fn fields(spec: TemplateSpec) -> Result<Map<String, Value>> {
    let value = serde_json::to_value(spec)?;
    value.as_object().cloned().context("a spec is an object")
}
