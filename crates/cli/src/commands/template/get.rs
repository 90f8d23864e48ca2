//! `atoll template get`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use wire::public::template::{Template, TemplateSpec, Visibility};
use wire::sandbox::{HttpProbe, Probe, ReadyCheck};

use super::named::resolve;
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
        let id = resolve(session, &self.name).await?;
        let template: Object<Template> = session.client.get(&format!("/v1/template/{id}")).await?;
        session.output.show(&template, |template| facts(template, Timestamp::now()).to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What people want to know of a template.
pub fn facts(template: &Template, now: Timestamp) -> Table {
    let config = &template.image_config;
    let mut facts = Table::facts();
    facts.fact("name", &template.name);
    facts.fact("id", &template.id);
    facts.fact("state", template.state);
    facts.fact_if("failure", template.failure.as_ref().map(|failure| &failure.message));
    facts.fact_if("from", template.uri.as_ref());
    facts.fact("digest", &template.digest);
    let serving = template.serving.as_ref();
    facts.fact_if("until then", serving.map(|image| format!("{} {}", image.uri, image.digest)));
    facts.fact_if("credentials", template.credentials.as_ref().map(|credentials| &credentials.kind));
    facts.fact("system", if template.is_system { "yes" } else { "no" });
    facts.fact("seen by", if template.visibility == Visibility::Team { "its team" } else { "every team" });
    facts.fact("version", template.version);
    add_spec(&mut facts, &template.spec);
    facts.fact_if("runs", words(config.entrypoint.iter().chain(&config.cmd).flatten()));
    facts.fact_if("workdir", Some(&config.working_dir).filter(|dir| !dir.is_empty()));
    facts.fact_if("user", Some(&config.user).filter(|user| !user.is_empty()));
    for (name, value) in config.env.iter().flatten() {
        facts.fact("env", format!("{name}={value}"));
    }
    facts.fact("created", ago(&template.created_at, now));
    facts.fact("changed", ago(&template.updated_at, now));
    facts
}

/// What its sandboxes get.
fn add_spec(facts: &mut Table, spec: &TemplateSpec) {
    facts.fact_if("vcpu", spec.vcpu);
    facts.fact_if("memory", spec.memory.map(|mib| format!("{mib} MiB")));
    facts.fact_if("disk", spec.disk.map(|mib| format!("{mib} MiB")));
    facts.fact_if("starts", spec.start_cmd.as_ref());
    facts.fact_if("ready", spec.ready_check.as_ref().map(told));
    facts.fact_if("pool", spec.pool.map(|pool| format!("{} to {}", pool.min_idle, pool.max_idle)));
    for (name, value) in spec.env_vars.iter().flatten() {
        facts.fact("variable", format!("{name}={value}"));
    }
}

fn told(check: &ReadyCheck) -> String {
    let what = match &check.probe {
        Probe::Port(port) => format!("port {port} is open"),
        Probe::Http(HttpProbe { port, path }) => format!("GET {path} on port {port} succeeds"),
        Probe::Command(line) => format!("`{line}` succeeds"),
    };
    format!("{what}, within {} s", check.timeout_seconds)
}

fn words<'a>(words: impl Iterator<Item = &'a String>) -> Option<String> {
    let words: Vec<_> = words.map(String::as_str).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
