//! `atoll sandbox url`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgGroup, Args};
use http::Method;
use jiff::Timestamp;
use wire::public::presigned::{CreatePresignedUrl, CreatedPresignedUrl};

use super::Named;
use crate::client::{Ask, Session, encoded};
use crate::output::{Object, note, print};
use crate::span::{from_now, seconds};

/// Makes a URL that opens one port to whoever has it, without a key, and prints it, this once.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["port", "revoke"]))]
pub struct Url {
    #[command(flatten)]
    sandbox: Named,
    /// The port, from 1 to 65535.
    port: Option<u16>,
    /// So long from now it opens nothing any more: seconds, or `15m`, or `2d` [default: an hour].
    #[arg(long, value_name = "TIME", value_parser = seconds, conflicts_with = "revoke")]
    expires: Option<u32>,
    /// Takes the URL with this id back instead, from the next request on; `atoll sandbox urls` shows ids.
    #[arg(long, value_name = "URL-ID")]
    revoke: Option<String>,
}

impl Ask for Url {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("{}/presigned-url", self.sandbox.path(session).await?);
        match (self.port, &self.revoke) {
            (Some(port), _) => {
                make(session, &path, CreatePresignedUrl { port, expires_in: self.expires }).await?
            }
            (None, Some(id)) => {
                session.client.delete(&format!("{path}/{}", encoded(id))).await?;
                if !session.output.is_json() {
                    print(id)?;
                }
            }
            // The group needs one of the two.
            (None, None) => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn make(session: &Session, path: &str, order: CreatePresignedUrl) -> Result<()> {
    let made: Object<CreatedPresignedUrl> = session.client.json(Method::POST, path, &order).await?;
    session.output.show(&made, |made| made.url.clone())?;
    if !session.output.is_json() {
        let shown = &made.it.shown;
        note(&format!("{} ends {}", shown.id, from_now(&shown.expires_at, Timestamp::now())));
    }
    Ok(())
}
