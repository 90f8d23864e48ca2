//! `atoll process kill`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use wire::public::process::{SendSignal, SignalName};

use super::Several;
use crate::client::{Ask, Session};
use crate::output::print;

/// Sends processes a signal, and prints the ids of those that got it.
#[derive(Debug, Args)]
pub struct Kill {
    #[command(flatten)]
    processes: Several,
    /// Which signal: a name such as TERM or SIGINT, or a number.
    #[arg(long, short, default_value = "KILL")]
    signal: String,
}

impl Ask for Kill {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let signal = match self.signal.parse() {
            Ok(number) => SignalName::Number(number),
            Err(_) => SignalName::Name(self.signal),
        };
        let order = SendSignal { signal };
        let killed = self.processes.each(session, async |path, id| {
            session.client.order(Method::POST, &format!("{path}/signal"), &order).await?;
            if session.output.is_json() { Ok(()) } else { print(id) }
        });
        Ok(killed.await)
    }
}
