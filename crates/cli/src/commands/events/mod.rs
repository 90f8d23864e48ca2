//! `atoll events`.

mod follow;
mod show;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Deserialize;
use wire::id::SandboxId;
use wire::public::event::SandboxEvent;

use super::sandbox::{PAGE_SIZE, resolve};
use crate::client::{Options, Session};
use crate::output::Object;
use show::Shown;

/// Shows what became of sandboxes and why, the oldest first.
///
/// A line is a change of a sandbox's state: when, its number, which sandbox, what it became, and for one that ends the
/// reason and what was seen that says so, shortened where it is a terminal that is written to. With --json each is an object on
/// a line.
#[derive(Debug, Args)]
pub struct Events {
    /// Of this sandbox alone: its id, also after its end, or as much of its beginning as fits no other that lives.
    #[arg(long, value_name = "ID")]
    sandbox: Option<String>,
    /// Goes on with what happens, over restarts of the server, until Ctrl-C or the end of the sandbox.
    #[arg(long, short)]
    follow: bool,
    /// The number of the event that was seen last: only later ones are shown.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    /// Ends after so many.
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    #[command(flatten)]
    options: Options,
}

/// Whose events, and which was seen last.
struct Told {
    sandbox: Option<SandboxId>,
    after: u64,
}

/// A part of the events, as they came.
#[derive(Deserialize)]
struct Page {
    items: Vec<Object<SandboxEvent>>,
}

impl Events {
    /// Asks.
    ///
    /// # Errors
    /// When the server cannot be reached at first or refuses, or nobody reads on.
    pub async fn run(self) -> Result<ExitCode> {
        let session = self.options.session()?;
        let sandbox = match &self.sandbox {
            Some(text) => Some(resolve(&session, text).await?),
            None => None,
        };
        let mut told = Told { sandbox, after: self.after };
        let mut shown = Shown::new(&session.output, self.limit);
        if self.follow {
            return follow::follow(&session, &mut told, &mut shown).await;
        }
        rest(&session, &mut told, &mut shown).await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Told {
    fn path(&self) -> String {
        match &self.sandbox {
            Some(id) => format!("/v1/sandbox/{id}/events?after={}", self.after),
            None => format!("/v1/events?after={}", self.after),
        }
    }
}

/// Shows everything that has happened until now, page by page.
async fn rest(session: &Session, told: &mut Told, shown: &mut Shown<'_>) -> Result<()> {
    loop {
        let path = format!("{}&page-size={PAGE_SIZE}", told.path());
        let page: Page = session.client.get(&path).await?;
        for event in &page.items {
            if shown.is_enough() {
                return Ok(());
            }
            shown.show(event)?;
            told.after = event.it.id;
        }
        if page.items.len() < PAGE_SIZE {
            return Ok(());
        }
    }
}
