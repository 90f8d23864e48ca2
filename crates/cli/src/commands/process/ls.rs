//! `atoll process ls`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use wire::public::process::{Process, ProcessList, ProcessState};

use crate::client::{Ask, Session};
use crate::commands::sandbox::Named;
use crate::output::{Object, print};
use crate::span::ago;
use crate::table::Table;

/// Characters of a command that are shown.
const COMMAND_CHARS_MAX: usize = 60;

/// Lists a sandbox's processes with an id: those that run, and those that ended lately.
#[derive(Debug, Args)]
pub struct Ls {
    #[command(flatten)]
    sandbox: Named,
    /// Prints ids alone.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
}

impl Ask for Ls {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("{}/processes", self.sandbox.path(session).await?);
        let list: Object<ProcessList> = session.client.get(&path).await?;
        if self.quiet {
            list.it.items.iter().try_for_each(|process| print(&process.id))?;
        } else {
            session.output.show(&list, |list| table(list, Timestamp::now()).to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(list: &ProcessList, now: Timestamp) -> Table {
    let mut table = Table::new(["ID", "PID", "STATE", "STARTED", "COMMAND"]);
    for process in &list.items {
        table.row([
            process.id.clone(),
            process.pid.to_string(),
            state(process),
            ago(&process.started_at, now),
            shortened(&process.command),
        ]);
    }
    table
}

/// Whether it runs, or how it ended.
pub fn state(process: &Process) -> String {
    match (process.state, process.exit_code) {
        (ProcessState::Running, _) => "running".to_owned(),
        (ProcessState::Ended, Some(code)) => match process.how.as_deref() {
            None | Some("exited") => format!("ended with {code}"),
            Some(how) => format!("ended with {code} ({how})"),
        },
        (ProcessState::Ended, None) => "ended".to_owned(),
    }
}

fn shortened(command: &str) -> String {
    match command.char_indices().nth(COMMAND_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &command[..end]),
        None => command.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_shortened_between_characters() {
        assert_eq!(shortened("sleep 1"), "sleep 1");
        assert_eq!(shortened(&"ä".repeat(61)), format!("{}…", "ä".repeat(60)));
    }
}
