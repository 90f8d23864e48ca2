//! `atoll`: the server in all its roles, and the tools around it.

mod client;
mod clock;
mod commands;
mod entropy;
mod exec;
mod interrupts;
mod output;
mod serve;
mod size;
mod span;
mod table;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use client::{Noun, report};

/// Sandboxes for agents, on hardware of your own.
///
/// Answers go to standard output, notes and errors to standard error. Exit codes: 0 for success, 1 for a failure, 2 for a
/// command line that makes no sense; commands that run a program exit with its code, and with 125 for failures of ours.
#[derive(Debug, Parser)]
#[command(name = "atoll", version, disable_help_subcommand = true)]
struct Atoll {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Serve>),
    Run(commands::run::Run),
    /// Machines, and what runs in them.
    Sandbox(Noun<commands::sandbox::Verb>),
    /// Programs in a sandbox that go on by themselves.
    Process(Noun<commands::process::Verb>),
    /// What lies in sandboxes.
    Files(Noun<commands::files::Verb>),
    Events(commands::events::Events),
    /// What sandboxes are made from.
    Template(Noun<commands::template::Verb>),
    /// Snapshots: what sandboxes were at some moment.
    Snapshot(Noun<commands::snapshot::Verb>),
    /// What opens the API.
    Key(Noun<commands::key::Verb>),
    /// Who owns sandboxes and keys, and how much each may have; for operators.
    Team(Noun<commands::team::Verb>),
    Whoami(commands::whoami::Whoami),
    Doctor(commands::doctor::Doctor),
    Completions(commands::completions::Completions),
    #[command(hide = true)]
    Configuration(commands::configuration::Configuration),
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
    /// Leads strangers into sandboxes, as a user of its own.
    Ingress { orders: PathBuf },
    /// Has certificates issued, as a user of its own.
    Acme { orders: PathBuf },
    /// Outlives the others: parent of machines, holder of their mounts.
    Launcher {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
    /// Unpacks one image, confined to the directory it writes.
    Unpacker { orders: std::ffi::OsString },
}

fn main() -> ExitCode {
    let outcome = match Atoll::parse().command {
        Command::Role { role } => be(role),
        Command::Serve(serve) => single_threaded(serve.run()),
        Command::Run(run) => single_threaded(async { Ok(run.run().await) }),
        Command::Sandbox(sandbox) => single_threaded(sandbox.run()),
        Command::Process(process) => single_threaded(process.run()),
        Command::Files(files) => single_threaded(files.run()),
        Command::Events(events) => single_threaded(events.run()),
        Command::Template(template) => single_threaded(template.run()),
        Command::Snapshot(snapshot) => single_threaded(snapshot.run()),
        Command::Key(key) => single_threaded(key.run()),
        Command::Team(team) => single_threaded(team.run()),
        Command::Whoami(whoami) => single_threaded(whoami.run()),
        Command::Doctor(doctor) => single_threaded(doctor.run()),
        Command::Completions(completions) => completions.run(),
        Command::Configuration(configuration) => Ok(configuration.run()),
    };
    outcome.unwrap_or_else(|error| report(&error, 1))
}

fn be(role: Role) -> Result<ExitCode> {
    match role {
        Role::Node { orders } => multi_threaded(serve::node_role(&orders)).map(|()| ExitCode::SUCCESS),
        Role::Control { orders } => multi_threaded(serve::control_role(&orders)).map(|()| ExitCode::SUCCESS),
        Role::Ingress { orders } => single_threaded(serve::ingress_role(&orders)).map(|()| ExitCode::SUCCESS),
        Role::Acme { orders } => single_threaded(serve::acme_role(&orders)).map(|()| ExitCode::SUCCESS),
        Role::Launcher { args } => Ok(engine::launcher::main(args)),
        Role::Unpacker { orders } => Ok(artifact::rootfs::layers::child::main([orders])),
    }
}

fn single_threaded<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

fn multi_threaded<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}
