//! `atoll sandbox ls`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use wire::public::sandbox::SandboxList;
use wire::public::template::TemplateList;
use wire::sandbox::State;

use crate::client::{Ask, Session};
use crate::commands::paging::Paging;
use crate::output::{Object, print};
use crate::span::{ago, until};
use crate::table::Table;

/// Lists the sandboxes of the key's team, the newest first.
#[derive(Debug, Args)]
pub struct Ls {
    /// Only those in this state.
    #[arg(long, value_parser = state)]
    state: Option<State>,
    /// By what they are sorted.
    #[arg(long, value_enum, default_value = "created")]
    sort: Sort,
    /// The other way round.
    #[arg(long, short)]
    reverse: bool,
    #[command(flatten)]
    paging: Paging,
    /// Prints ids alone.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sort {
    Created,
    State,
}

fn state(text: &str) -> Result<State, String> {
    let words: Vec<_> = State::ALL.iter().filter(|state| **state != State::Deleted).collect();
    let found = words.iter().find(|state| state.as_str() == text);
    found.map(|state| **state).ok_or_else(|| {
        format!("expected one of {}", words.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(", "))
    })
}

impl Ls {
    fn query(&self) -> String {
        let (sort, order) = match (self.sort, self.reverse) {
            (Sort::Created, false) => ("created_at", "desc"),
            (Sort::Created, true) => ("created_at", "asc"),
            (Sort::State, false) => ("state", "asc"),
            (Sort::State, true) => ("state", "desc"),
        };
        let state = self.state.map(|state| format!("&state={state}")).unwrap_or_default();
        format!("sort={sort}&order-by={order}&{}{state}", self.paging.query())
    }
}

impl Ask for Ls {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let list: Object<SandboxList> =
            session.client.get(&format!("/v1/sandboxes?{}", self.query())).await?;
        if self.quiet {
            list.it.items.iter().try_for_each(|item| print(item.id.as_str()))?;
        } else {
            let names = if session.output.is_json() { BTreeMap::new() } else { names(session).await };
            session.output.show(&list, |list| table(list, &names, Timestamp::now()).to_string())?;
        }
        self.paging.note_rest(session, list.it.items.len(), list.it.total_items);
        Ok(ExitCode::SUCCESS)
    }
}

/// Templates' names by their ids. People read names; where they cannot be had, ids do.
async fn names(session: &Session) -> BTreeMap<String, String> {
    let templates = session.client.get::<TemplateList>("/v1/templates").await;
    let items = templates.map(|list| list.items).unwrap_or_default();
    items.into_iter().map(|template| (template.id.to_string(), template.name)).collect()
}

fn table(list: &SandboxList, names: &BTreeMap<String, String>, now: Timestamp) -> Table {
    let mut table = Table::new(["ID", "STATE", "TEMPLATE", "CREATED", "ENDS"]);
    for item in &list.items {
        let template = names.get(item.template_id.as_str()).map_or(item.template_id.as_str(), String::as_str);
        table.row([
            item.id.to_string(),
            item.state.to_string(),
            template.to_owned(),
            ago(&item.created_at, now),
            item.timeout_at.map_or_else(|| "-".to_owned(), |at| until(at, now)),
        ]);
    }
    table
}
