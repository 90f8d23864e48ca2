//! `atoll doctor`: what this machine can run, and what mends what is missing.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

/// Says which engines this machine can run, and the command that mends what is missing.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The `runsc` program.
    #[arg(long, env = "ATOLL_RUNSC", default_value = "runsc")]
    runsc: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Looks. The exit code says whether sandboxes can run here.
    ///
    /// # Errors
    /// When the findings cannot be printed.
    pub async fn run(self) -> Result<ExitCode> {
        let report = engine::probe::report(&self.runsc).await;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            report.iter().for_each(print_check);
        }
        let fit = report.iter().all(|check| check.ok || !check.required);
        Ok(if fit { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn print_check(check: &engine::probe::Check) {
    let mark = match (check.ok, check.required) {
        (true, _) => "ok     ",
        (false, true) => "MISSING",
        (false, false) => "absent ",
    };
    println!("{mark}  {:<22} {}", check.name, check.detail);
    if !check.ok && !check.remedy.is_empty() {
        println!("         {:<22} → {}", "", check.remedy);
    }
}
