//! `atoll sandbox rm`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use futures_util::{StreamExt, stream};
use wire::public::sandbox::SandboxList;

use super::named::{PAGE_SIZE, resolve};
use crate::client::{Ask, Session, report};
use crate::output::print;

/// Sandboxes deleted at once.
const AT_ONCE: usize = 8;

/// Deletes sandboxes, and prints the ids of those that are gone.
#[derive(Debug, Args)]
pub struct Rm {
    /// Which: ids, or as much of their beginnings as fits no other.
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<String>,
    /// Every sandbox of the key's team.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

impl Ask for Rm {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let ids = if self.all { all(session).await? } else { self.ids };
        let deletions = ids.iter().map(async |id| (id, delete(session, id).await));
        let mut outcomes = stream::iter(deletions).buffered(AT_ONCE);
        let mut code = ExitCode::SUCCESS;
        while let Some((id, outcome)) = outcomes.next().await {
            match outcome {
                Ok(()) if session.output.is_json() => {}
                Ok(()) => print(id)?,
                Err(error) => code = report(&error.context(id.clone()), 1),
            }
        }
        Ok(code)
    }
}

async fn delete(session: &Session, id: &str) -> Result<()> {
    session.client.delete(&format!("/v1/sandbox/{}", resolve(session, id).await?)).await
}

/// Every id there is now. Pages are read before anything is deleted, which would move the rest.
async fn all(session: &Session) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for page in 1.. {
        let path = format!("/v1/sandboxes?order-by=asc&page={page}&page-size={PAGE_SIZE}");
        let list: SandboxList = session.client.get(&path).await?;
        let is_last = list.items.len() < PAGE_SIZE;
        ids.extend(list.items.into_iter().map(|item| item.id.to_string()));
        if is_last {
            break;
        }
    }
    Ok(ids)
}
