//! The project's own chores: `cargo run --release -p xtask -- <chore>`.
//!
//! | chore | what |
//! | --- | --- |
//! | `tidy` | checks dependencies and the tree; a line per finding |
//! | `contract` | writes `contract/` and `docs/api.html` from the types in `wire` |
//! | `contract --check` | fails where they are not what would be written |

mod contract;
mod reference;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo run --release -p xtask -- tidy | contract [--check]";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
fn run() -> Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy::run(&root),
        ["contract"] => contract::write(&root),
        ["contract", "--check"] => contract::check(&root),
        _ => bail!(USAGE),
    }
}
