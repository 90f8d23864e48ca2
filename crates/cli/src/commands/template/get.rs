//! `atoll template get`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use jiff::Timestamp;
use wire::id::TemplateId;
use wire::public::template::{Template, TemplateList};

use crate::client::{Ask, Session};
use crate::output::Object;
use crate::span::ago;
use crate::table::Table;

/// Shows one template.
#[derive(Debug, Args)]
pub struct Get {
    /// Its name or id.
    #[arg(value_name = "NAME")]
    name: String,
}

impl Ask for Get {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let id = resolve(session, self.name).await?;
        let template: Object<Template> = session.client.get(&format!("/v1/template/{id}")).await?;
        session.output.show(&template, |template| facts(template, Timestamp::now()).to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn resolve(session: &Session, name: String) -> Result<TemplateId> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let list: TemplateList = session.client.get("/v1/templates").await?;
    match list.items.into_iter().find(|template| template.name == name) {
        Some(template) => Ok(template.id),
        None => bail!("there is no template `{name}`; `atoll template ls` shows them"),
    }
}

fn facts(template: &Template, now: Timestamp) -> Table {
    let config = &template.image_config;
    let mut facts = Table::facts();
    facts.fact("name", &template.name);
    facts.fact("id", &template.id);
    facts.fact("digest", &template.digest);
    facts.fact("system", if template.is_system { "yes" } else { "no" });
    facts.fact_if("runs", words(config.entrypoint.iter().chain(&config.cmd).flatten()));
    facts.fact_if("workdir", Some(&config.working_dir).filter(|dir| !dir.is_empty()));
    facts.fact_if("user", Some(&config.user).filter(|user| !user.is_empty()));
    for (name, value) in config.env.iter().flatten() {
        facts.fact("env", format!("{name}={value}"));
    }
    facts.fact("created", ago(&template.created_at, now));
    facts
}

fn words<'a>(words: impl Iterator<Item = &'a String>) -> Option<String> {
    let words: Vec<_> = words.map(String::as_str).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
