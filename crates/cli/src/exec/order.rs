//! Which program, and how.

use std::collections::BTreeMap;

use clap::Args;
use wire::public::process::Execute;
use wire::public::pty::CreatePty;
use wire::sandbox::limits;

/// Which program, and how.
#[derive(Debug, Args)]
pub struct Program {
    /// Where it starts, instead of the sandbox's workdir.
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<String>,
    /// The program and its arguments; `--` before it is allowed.
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What a program is given.
#[derive(Debug, Default, Args)]
pub struct Given {
    /// A variable for it; repeatable.
    #[arg(long = "env", short, value_name = "NAME=VALUE", value_parser = variable)]
    pub envs: Vec<(String, String)>,
    /// As whom it runs: a name or a number, either with `:group` [default: the sandbox's user].
    #[arg(long, short)]
    pub user: Option<String>,
}

impl Program {
    /// As a command of the API, that ends after so many seconds.
    pub fn command(self, given: Given, timeout: Option<u32>) -> Execute {
        Execute {
            argv: Some(self.command),
            cwd: self.workdir,
            envs: given.environment(),
            user: given.user,
            timeout,
            ..Execute::default()
        }
    }

    /// As a command that somebody waits for. Nobody who does means the short time of a request: the sandbox's own end is
    /// limit enough.
    pub fn awaited(self, given: Given, timeout: Option<u32>) -> Execute {
        let timeout = timeout.unwrap_or(*limits::COMMAND_TIMEOUT_SECONDS.end());
        self.command(given, Some(timeout))
    }

    /// As the program of a terminal.
    pub fn in_terminal(self, given: Given) -> CreatePty {
        CreatePty { argv: Some(self.command), ..given.terminal(self.workdir) }
    }
}

impl Given {
    fn environment(&self) -> Option<BTreeMap<String, String>> {
        (!self.envs.is_empty()).then(|| BTreeMap::from_iter(self.envs.iter().cloned()))
    }

    /// A terminal with the user's login shell.
    pub fn terminal(self, workdir: Option<String>) -> CreatePty {
        CreatePty { cwd: workdir, envs: self.environment(), user: self.user, ..CreatePty::default() }
    }
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
