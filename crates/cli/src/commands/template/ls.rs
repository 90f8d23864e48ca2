//! `atoll template ls`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use wire::public::template::TemplateList;

use crate::client::{Ask, Session};
use crate::output::Object;
use crate::span::ago;
use crate::table::Table;

/// Lists the templates the key's team may use, by name.
#[derive(Debug, Args)]
pub struct Ls {}

impl Ask for Ls {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let list: Object<TemplateList> = session.client.get("/v1/templates").await?;
        session.output.show(&list, |list| table(list, Timestamp::now()).to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(list: &TemplateList, now: Timestamp) -> Table {
    let mut table = Table::new(["NAME", "ID", "STATE", "CREATED"]);
    for template in &list.items {
        let (name, id) = (template.name.clone(), template.id.to_string());
        table.row([name, id, template.state.to_string(), ago(&template.created_at, now)]);
    }
    table
}
