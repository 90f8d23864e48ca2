//! `atoll template update`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use super::create::fields;
use super::credentials::Credentials;
use super::get::facts;
use super::named::resolve;
use super::spec::Spec;
use super::wait::Wait;
use crate::client::{Ask, Session};

/// Changes a template, for new sandboxes alone, and shows what it is now.
///
/// With `--uri`, its image is looked for again, also if that is where it was; the old one serves until the new one is here.
#[derive(Debug, Args)]
pub struct Update {
    /// The template: its name or id.
    #[arg(value_name = "NAME")]
    name: String,
    /// Another image, or the same source again.
    #[arg(long)]
    uri: Option<String>,
    /// Every team sees it. Needs an operator's key.
    #[arg(long, conflicts_with = "private")]
    public: bool,
    /// Its team alone sees it.
    #[arg(long)]
    private: bool,
    /// Gives up what was set; repeatable.
    #[arg(long, value_enum, value_name = "FIELD")]
    unset: Vec<Field>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    credentials: Credentials,
    #[command(flatten)]
    spec: Spec,
}

/// What can be given up.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Field {
    Vcpu,
    Memory,
    Disk,
    Env,
    Start,
    Ready,
    Pool,
    Lazy,
    Credentials,
}

impl Field {
    /// As the API calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Vcpu => "vcpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Env => "env_vars",
            Self::Start => "start_cmd",
            Self::Ready => "ready_check",
            Self::Pool => "pool",
            Self::Lazy => "pull",
            Self::Credentials => "credentials",
        }
    }
}

impl Ask for Update {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let mut order = fields(self.spec.given())?;
        order.extend(self.unset.iter().map(|field| (field.name().to_owned(), Value::Null)));
        let visibility = if self.public { Some("public") } else { self.private.then_some("team") };
        let given = [
            ("uri", self.uri.map(Value::from)),
            ("visibility", visibility.map(Value::from)),
            ("credentials", self.credentials.read()?),
        ];
        order.extend(given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        if order.is_empty() {
            bail!("nothing to change; `atoll template update --help` lists what can be");
        }
        let id = resolve(session, &self.name).await?;
        session.client.order(Method::PATCH, &format!("/v1/template/{id}"), &order).await?;
        let template = self.wait.over(session, &id).await?;
        session.output.show(&template, |template| facts(template, Timestamp::now()).to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
