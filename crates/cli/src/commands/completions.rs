//! `atoll completions`: what shells need to complete our command lines.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::output::print;

/// Prints a completion script for a shell: `source <(atoll completions bash)`.
#[derive(Debug, Args)]
pub struct Completions {
    /// Which.
    #[arg(value_parser = clap::value_parser!(Shell))]
    shell: Shell,
}

impl Completions {
    /// Prints it.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn run(self) -> Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Atoll::command(), "atoll", &mut script);
        print(&String::from_utf8(script)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
