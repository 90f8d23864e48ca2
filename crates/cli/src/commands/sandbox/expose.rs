//! `atoll sandbox expose`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use wire::public::sandbox::PublicPorts;

use super::Named;
use crate::client::{Ask, Session};
use crate::output::Object;

/// Opens ports to whoever asks, without a key, or closes them again; prints those that are open.
#[derive(Debug, Args)]
pub struct Expose {
    #[command(flatten)]
    sandbox: Named,
    /// The ports. None: those that are open are shown.
    ports: Vec<u16>,
    /// Closes them: a key of the team is needed again, from the next request on.
    #[arg(long, requires = "ports")]
    private: bool,
}

impl Ask for Expose {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("{}/public-ports", self.sandbox.path(session).await?);
        let mut open: Object<PublicPorts> = session.client.get(&path).await?;
        if !self.ports.is_empty() {
            let mut ports = open.it.ports;
            ports.retain(|port| !self.ports.contains(port));
            if !self.private {
                ports.extend(&self.ports);
            }
            open = session.client.json(Method::PUT, &path, &PublicPorts { ports }).await?;
        }
        session.output.show(&open, told)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn told(open: &PublicPorts) -> String {
    let ports: Vec<_> = open.ports.iter().map(u16::to_string).collect();
    if ports.is_empty() { "none is open".to_owned() } else { ports.join(", ") }
}
