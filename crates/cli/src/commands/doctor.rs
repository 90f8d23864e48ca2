//! `atoll doctor`: what this machine can run, and what mends what is missing.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use engine::probe::Check;

/// The engines there are checks for.
const ENGINES: [&str; 2] = ["gvisor", "firecracker"];

/// Says which engines this machine can run, and the command that mends what is missing.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The `runsc` program.
    #[arg(long, env = "ATOLL_RUNSC", default_value = "runsc")]
    runsc: PathBuf,
    /// Where a server keeps everything: there has to be room.
    #[arg(long, env = "ATOLL_DATA_DIR", default_value = "/var/lib/atoll")]
    data_dir: PathBuf,
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
        let mut checks = engine::probe::report(&self.runsc);
        checks.push(crate::serve::examine_disk(&self.data_dir));
        if self.json {
            println!("{}", serde_json::to_string_pretty(&checks)?);
        } else {
            ENGINES.iter().for_each(|engine| print_engine(engine, &checks));
        }
        // One engine is enough.
        let fit = ENGINES.iter().any(|engine| can_run(engine, &checks));
        Ok(if fit { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn can_run(engine: &str, checks: &[Check]) -> bool {
    checks.iter().filter(|check| check.engine == engine).all(|check| check.ok)
}

fn print_engine(engine: &str, checks: &[Check]) {
    println!("{engine}: {}", if can_run(engine, checks) { "this machine can run it" } else { "not here" });
    for check in checks.iter().filter(|check| check.engine == engine) {
        println!("  {}  {:<14} {}", if check.ok { "ok     " } else { "missing" }, check.name, check.detail);
        if !check.ok {
            println!("  {:<23} → {}", "", check.remedy);
        }
    }
}
