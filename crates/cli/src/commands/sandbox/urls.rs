//! `atoll sandbox urls`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use wire::public::presigned::PresignedUrlList;

use super::Named;
use crate::client::{Ask, Session};
use crate::output::Object;
use crate::span::{ago, from_now};
use crate::table::Table;

/// Lists the presigned URLs of a sandbox that have not expired. What opens is not in it.
#[derive(Debug, Args)]
pub struct Urls {
    #[command(flatten)]
    sandbox: Named,
}

impl Ask for Urls {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("{}/presigned-urls", self.sandbox.path(session).await?);
        let list: Object<PresignedUrlList> = session.client.get(&path).await?;
        session.output.show(&list, |list| table(list, Timestamp::now()).to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(list: &PresignedUrlList, now: Timestamp) -> Table {
    let mut table = Table::new(["ID", "PORT", "CREATED", "EXPIRES"]);
    for url in &list.items {
        table.row([
            url.id.to_string(),
            url.port.to_string(),
            ago(&url.created_at, now),
            from_now(&url.expires_at, now),
        ]);
    }
    table
}
