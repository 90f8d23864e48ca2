//! `atoll key create`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use jiff::Timestamp;
use wire::public::key::{CreateKey, CreatedKey, Scope};

use super::scopes;
use crate::client::{Ask, Session};
use crate::commands::team;
use crate::output::{Object, note, print};
use crate::span::{from_now, seconds};
use crate::table::Table;

/// Makes a key and shows it, this once.
#[derive(Debug, Args)]
pub struct Create {
    /// What people call it.
    #[arg(long)]
    name: String,
    /// What it opens; repeatable. Only operators can give `operator` [default: team].
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<Scope>,
    /// Whose it is, for operators: a team's id or name [default: the team of the key that asks].
    #[arg(long)]
    team: Option<String>,
    /// So long from now it opens nothing any more: seconds, or `12h`, or `90d` [default: never].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires: Option<u32>,
    /// Prints the key alone, for scripts.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
}

fn scope(word: &str) -> Result<Scope, String> {
    let found = Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
    found.ok_or_else(|| "expected `team` or `operator`".to_owned())
}

impl Ask for Create {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let team = match self.team {
            Some(team) => Some(team::resolve(session, &team).await?),
            None => None,
        };
        let order = CreateKey {
            name: self.name,
            scopes: (!self.scopes.is_empty()).then_some(self.scopes),
            expires_in: self.expires,
            team,
        };
        let made: Object<CreatedKey> = session.client.json(Method::POST, "/v1/key", &order).await?;
        if self.quiet {
            print(&made.it.key)?;
            return Ok(ExitCode::SUCCESS);
        }
        session.output.show(&made, |made| facts(made, Timestamp::now()).to_string())?;
        if !session.output.is_json() {
            note("It is not shown again: the server keeps no more than what recognises it.");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn facts(made: &CreatedKey, now: Timestamp) -> Table {
    let mut facts = Table::facts();
    facts.fact("key", &made.key);
    facts.fact("id", &made.shown.id);
    facts.fact("name", &made.shown.name);
    facts.fact("team", &made.shown.team);
    facts.fact("opens", scopes(&made.shown));
    facts.fact_if("expires", made.shown.expires_at.as_deref().map(|at| from_now(at, now)));
    facts
}
