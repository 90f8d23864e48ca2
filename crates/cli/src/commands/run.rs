//! `atoll run`: one command in a sandbox of its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http::Method;
use wire::public::process::{Execute, ProcessEvent, ProcessEventKind};
use wire::public::sandbox::{CreateSandbox, Sandbox};

use crate::client::{Client, Lines, Server};

/// Runs one command in a new sandbox, streams what it says, exits with its code, and deletes the sandbox.
#[derive(Debug, Args)]
pub struct Run {
    /// The template to make the sandbox from.
    template: String,
    /// Virtual CPUs.
    #[arg(long)]
    vcpu: Option<u32>,
    /// Memory in MiB.
    #[arg(long)]
    memory: Option<u32>,
    /// Seconds until the sandbox ends, whatever runs in it.
    #[arg(long)]
    timeout: Option<u32>,
    /// A variable for its environment; repeatable.
    #[arg(long = "env", short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
    #[command(flatten)]
    server: Server,
}

/// What a shell returns for a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
/// What is returned when it is ours, not the command's, that failed.
pub const OUR_FAILURE: u8 = 125;

impl Run {
    /// Runs it; the exit code is the command's.
    ///
    /// # Errors
    /// When anything but the command fails.
    pub async fn run(self) -> Result<ExitCode> {
        let client = self.server.client()?;
        let sandbox: Sandbox = client.json(Method::POST, "/v1/sandbox", &self.create()?).await?;
        let outcome = tokio::select! {
            outcome = self.execute(&client, &sandbox) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(INTERRUPTED),
        };
        client.delete(&format!("/v1/sandbox/{}", sandbox.id)).await.context("the sandbox was not deleted")?;
        outcome.map(ExitCode::from)
    }

    fn create(&self) -> Result<CreateSandbox> {
        let env = self.env.iter().map(|pair| split_pair(pair)).collect::<Result<BTreeMap<_, _>>>()?;
        Ok(CreateSandbox {
            template_name: Some(self.template.clone()),
            vcpu: self.vcpu,
            memory: self.memory,
            timeout: self.timeout,
            env_vars: (!env.is_empty()).then_some(env),
            ..CreateSandbox::default()
        })
    }

    async fn execute(&self, client: &Client, sandbox: &Sandbox) -> Result<u8> {
        let execute = Execute {
            command: None,
            argv: Some(self.command.clone()),
            cwd: None,
            envs: None,
            timeout: Some(sandbox.timeout),
        };
        let path = format!("/v1/sandbox/{}/process/stream", sandbox.id);
        copy_output(client.lines(Method::POST, &path, &execute).await?).await
    }
}

fn split_pair(pair: &str) -> Result<(String, String)> {
    let (name, value) = pair.split_once('=').with_context(|| format!("`{pair}` is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Passes on what the command says until it ends.
async fn copy_output(mut lines: Lines) -> Result<u8> {
    while let Some(line) = lines.next().await? {
        let Some(data) = line.strip_prefix("data:") else { continue };
        let event: ProcessEvent =
            serde_json::from_str(data).context("an event this version does not know")?;
        match event.event {
            ProcessEventKind::Started { .. } => {}
            ProcessEventKind::Stdout { data } => write_all(std::io::stdout(), &data)?,
            ProcessEventKind::Stderr { data } => write_all(std::io::stderr(), &data)?,
            ProcessEventKind::Exit { exit_code, how, .. } => {
                match how.as_str() {
                    "timeout" => eprintln!("atoll: the command was killed: its time was up"),
                    "out_of_memory" => {
                        eprintln!("atoll: the command was killed: the sandbox ran out of memory")
                    }
                    _ => {}
                }
                return Ok(u8::try_from(exit_code).unwrap_or(OUR_FAILURE));
            }
            ProcessEventKind::Error { message, .. } => bail!(message),
        }
    }
    bail!("the stream ended before the command did")
}

fn write_all(mut out: impl Write, base64: &str) -> Result<()> {
    out.write_all(&STANDARD.decode(base64)?)?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_may_hold_an_equals_sign_but_must_have_one() {
        assert_eq!(split_pair("A=b=c").unwrap(), ("A".into(), "b=c".into()));
        assert!(split_pair("A").is_err());
    }
}
