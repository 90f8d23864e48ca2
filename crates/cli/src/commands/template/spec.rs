//! What sandboxes of a template get, as options.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use clap::Args;
use wire::public::template::{Pool, PullMode, TemplateSpec};
use wire::sandbox::{HttpProbe, Probe, ReadyCheck, defaults};

use crate::exec::variable;
use crate::span::seconds;

/// What sandboxes get where their makers say nothing else.
#[derive(Debug, Args)]
#[command(next_help_heading = "What sandboxes get")]
pub struct Spec {
    /// Virtual CPUs.
    #[arg(long)]
    vcpu: Option<u32>,
    /// Memory in MiB.
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// What can be written on top of the image, in MiB.
    #[arg(long, value_name = "MIB")]
    disk: Option<u32>,
    /// A variable for all that runs in them; repeatable.
    #[arg(long = "env", short, value_name = "NAME=VALUE", value_parser = variable)]
    envs: Vec<(String, String)>,
    /// A command line for the shell that starts with them, in place of the image's own.
    #[arg(long, value_name = "COMMAND")]
    start: Option<String>,
    /// They are up when something listens on this port.
    #[arg(long, value_name = "PORT", group = "ready")]
    ready_port: Option<u16>,
    /// They are up when a GET of this path on this port succeeds: `8080/healthz`.
    #[arg(long, value_name = "PORT/PATH", group = "ready", value_parser = place)]
    ready_http: Option<(u16, String)>,
    /// They are up when this command line succeeds.
    #[arg(long, value_name = "COMMAND", group = "ready")]
    ready_command: Option<String>,
    /// How long they have to come up; also `2m`.
    #[arg(long, value_name = "TIME", requires = "ready", value_parser = seconds)]
    ready_timeout: Option<u32>,
    /// Sandboxes kept ready: at least, and at most. Kept in mind; nothing is kept ready yet.
    #[arg(long, value_name = "MIN:MAX", value_parser = pool)]
    pool: Option<Pool>,
    /// Fetches layers when the first sandbox is made, not at once.
    #[arg(long)]
    lazy: bool,
}

impl Spec {
    /// As the API takes it.
    pub fn given(self) -> TemplateSpec {
        let ready_check = self.ready_check();
        TemplateSpec {
            vcpu: self.vcpu,
            memory: self.memory,
            disk: self.disk,
            env_vars: (!self.envs.is_empty()).then(|| BTreeMap::from_iter(self.envs)),
            start_cmd: self.start,
            ready_check,
            network_policy: None,
            pool: self.pool,
            pull: self.lazy.then_some(PullMode::Lazy),
        }
    }

    fn ready_check(&self) -> Option<ReadyCheck> {
        let http = self.ready_http.clone().map(|(port, path)| Probe::Http(HttpProbe { port, path }));
        let command = self.ready_command.clone().map(Probe::Command);
        let probe = self.ready_port.map(Probe::Port).or(http).or(command)?;
        let timeout_seconds = self.ready_timeout.unwrap_or_else(defaults::ready_timeout_seconds);
        Some(ReadyCheck { probe, timeout_seconds })
    }
}

fn place(text: &str) -> Result<(u16, String), String> {
    let (port, path) = text.split_once('/').unwrap_or((text, ""));
    let port = port.parse().map_err(|_| "expected a port and a path: `8080/healthz`")?;
    Ok((port, format!("/{path}")))
}

fn pool(text: &str) -> Result<Pool> {
    let expected = || "expected two numbers: `1:5`";
    let (min, max) = text.split_once(':').with_context(expected)?;
    Ok(Pool { min_idle: min.parse().with_context(expected)?, max_idle: max.parse().with_context(expected)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_port_and_a_path() {
        assert_eq!(place("8080/healthz"), Ok((8080, "/healthz".into())));
        assert_eq!(place("80"), Ok((80, "/".into())));
        for wrong in ["", "/x", "99999/x"] {
            assert!(place(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_pool_is_two_numbers() {
        assert_eq!(pool("1:5").unwrap(), Pool { min_idle: 1, max_idle: 5 });
        for wrong in ["", "1", "1:", "a:b"] {
            assert!(pool(wrong).is_err(), "{wrong:?}");
        }
    }
}
