//! `atoll`: the server in all its roles, and the tools around it.

mod client;
mod clock;
mod commands;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Sandboxes for agents, on hardware of your own.
#[derive(Debug, Parser)]
#[command(name = "atoll", version, disable_help_subcommand = true)]
struct Atoll {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Run(commands::run::Run),
    Sandbox(commands::sandbox::SandboxCommand),
    Template(commands::template::TemplateCommand),
    Doctor(commands::doctor::Doctor),
    /// One process of a server; started by `atoll serve`, not by people.
    #[command(hide = true)]
    Role {
        #[command(subcommand)]
        role: Role,
    },
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Runs machines, as root.
    Node { orders: PathBuf },
    /// Serves the API, as the service user.
    Control { orders: PathBuf },
    /// Outlives the others: parent of machines, holder of their mounts.
    Launcher {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

fn main() -> ExitCode {
    let command = Atoll::parse().command;
    let is_run = matches!(command, Command::Run(_));
    let outcome = match command {
        Command::Role { role } => be(role),
        Command::Serve(serve) => single_threaded(serve.run()),
        Command::Run(run) => single_threaded(run.run()),
        Command::Sandbox(sandbox) => single_threaded(sandbox.run()),
        Command::Template(template) => single_threaded(template.run()),
        Command::Doctor(doctor) => single_threaded(doctor.run()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("atoll: {error:#}");
        if is_run { ExitCode::from(commands::run::OUR_FAILURE) } else { ExitCode::FAILURE }
    })
}

fn be(role: Role) -> Result<ExitCode> {
    match role {
        Role::Node { orders } => multi_threaded(serve::node_role(&orders)).map(|()| ExitCode::SUCCESS),
        Role::Control { orders } => multi_threaded(serve::control_role(&orders)).map(|()| ExitCode::SUCCESS),
        Role::Launcher { args } => Ok(engine::launcher::main(args)),
    }
}

fn single_threaded<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

fn multi_threaded<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}
