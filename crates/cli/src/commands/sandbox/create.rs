//! `atoll sandbox create`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use http::Method;
use wire::public::sandbox::{CreateSandbox, Sandbox};

use crate::client::{Ask, Session};
use crate::exec::variable;
use crate::output::Object;
use crate::span::seconds;

/// Makes a sandbox, and prints its id when it runs.
#[derive(Debug, Args)]
pub struct Create {
    /// The template to make it from [default: system/debian:bookworm].
    template: Option<String>,
    #[command(flatten)]
    wanted: Wanted,
}

/// What a sandbox can be given; the server has defaults.
#[derive(Debug, Args)]
pub struct Wanted {
    /// Virtual CPUs.
    #[arg(long)]
    vcpu: Option<u32>,
    /// Memory in MiB.
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// Seconds until the sandbox ends, whatever runs in it; also `15m` or `2h`.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    timeout: Option<u32>,
    /// When its time is up, it is paused and does not end.
    #[arg(long)]
    auto_pause: bool,
    /// A port that is open to whoever asks, without a key; repeatable.
    #[arg(long = "public", value_name = "PORT")]
    public_ports: Vec<u16>,
    /// A variable for all that runs in it; repeatable.
    #[arg(long = "env", short, value_name = "NAME=VALUE", value_parser = variable)]
    envs: Vec<(String, String)>,
}

impl Wanted {
    /// As the API wants it.
    pub fn of(self, template_name: Option<String>) -> CreateSandbox {
        CreateSandbox {
            template_name,
            vcpu: self.vcpu,
            memory: self.memory,
            timeout: self.timeout,
            auto_pause: self.auto_pause.then_some(true),
            public_ports: (!self.public_ports.is_empty()).then_some(self.public_ports),
            env_vars: (!self.envs.is_empty()).then(|| BTreeMap::from_iter(self.envs)),
            ..CreateSandbox::default()
        }
    }
}

impl Ask for Create {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let wanted = self.wanted.of(self.template);
        let made: Object<Sandbox> = session.client.json(Method::POST, "/v1/sandbox", &wanted).await?;
        session.output.show(&made, |sandbox| sandbox.id.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
