//! One program in a sandbox, with its output and its end as if it ran here.

mod listen;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use wire::public::process::{Execute, Executed};
use wire::sandbox::limits;

use crate::client::{Session, encoded};
use crate::interrupts::Interrupts;
use crate::output::Object;

pub use listen::listen;

/// Which program, and how.
#[derive(Debug, Args)]
pub struct Program {
    /// Where it starts, instead of the sandbox's workdir.
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<String>,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Program {
    /// Runs it in a sandbox; the exit code is its own. A signal to us ends it.
    ///
    /// # Errors
    /// When it cannot be started, or it is not known how it ended.
    pub async fn run(self, session: &Session, sandbox: &str, given: Given) -> Result<ExitCode> {
        let order = self.order(given);
        let mut interrupts = Interrupts::new()?;
        tokio::select! {
            code = carry_out(session, sandbox, &order) => code.map(ExitCode::from),
            code = interrupts.next() => Ok(ExitCode::from(code)),
        }
    }

    fn order(self, given: Given) -> Execute {
        Execute {
            argv: Some(self.command),
            cwd: self.workdir,
            envs: (!given.envs.is_empty()).then(|| BTreeMap::from_iter(given.envs)),
            // Nobody who waits at a terminal means the short time of a request: the sandbox's own end is limit enough.
            timeout: Some(given.timeout.unwrap_or(*limits::COMMAND_TIMEOUT_SECONDS.end())),
            ..Execute::default()
        }
    }
}

/// What a program is given.
#[derive(Debug, Default)]
pub struct Given {
    /// Variables.
    pub envs: Vec<(String, String)>,
    /// Seconds until it is killed.
    pub timeout: Option<u32>,
}

async fn carry_out(session: &Session, sandbox: &str, order: &Execute) -> Result<u8> {
    let base = format!("/v1/sandbox/{}/process", encoded(sandbox));
    if session.output.is_json() {
        let executed: Object<Executed> =
            session.client.json(Method::POST, &format!("{base}/execute"), order).await?;
        session.output.show(&executed, |_| String::new())?;
        return Ok(listen::code(executed.it.exit_code));
    }
    listen(session.client.events(Method::POST, &format!("{base}/stream"), order).await?).await
}

/// A variable, for clap.
///
/// # Errors
/// When it has no name or no equals sign.
pub fn variable(pair: &str) -> Result<(String, String), String> {
    match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_may_hold_an_equals_sign_but_must_have_one() {
        assert_eq!(variable("A=b=c").unwrap(), ("A".into(), "b=c".into()));
        assert!(variable("A").is_err() && variable("=b").is_err());
    }
}
