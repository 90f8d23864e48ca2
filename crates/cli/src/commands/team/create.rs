//! `atoll team create`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use serde_json::{Map, Value};
use wire::public::team::Team;

use super::limits::Limits;
use crate::client::{Ask, Session};
use crate::output::Object;

/// Makes a team, and prints its id. It has no key yet: `atoll key create --team`.
#[derive(Debug, Args)]
pub struct Create {
    /// What people call it; no two teams have the same name.
    name: String,
    #[command(flatten)]
    limits: Limits,
}

impl Ask for Create {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let order = order(Some(self.name), self.limits.given());
        let made: Object<Team> = session.client.json(Method::POST, "/v1/team", &order).await?;
        session.output.show(&made, |team| team.id.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A body with what is given.
pub fn order(name: Option<String>, limits: Option<Value>) -> Map<String, Value> {
    let fields = [("name", name.map(Value::from)), ("limits", limits)];
    fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))).collect()
}
