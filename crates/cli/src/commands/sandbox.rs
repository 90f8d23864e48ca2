//! `atoll sandbox`: what there is and what is known of it.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use wire::public::sandbox::{SandboxInspection, SandboxList};

use crate::client::Server;

/// Looks at sandboxes.
#[derive(Debug, Args)]
pub struct SandboxCommand {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the sandboxes of the key's team.
    Ls,
    /// Prints what the store, the node, the engine and the guest each say of one sandbox.
    Inspect {
        /// Its id.
        id: String,
    },
    /// Deletes one sandbox.
    Rm {
        /// Its id.
        id: String,
    },
}

impl SandboxCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn run(self) -> Result<ExitCode> {
        let client = self.server.client()?;
        match self.verb {
            Verb::Ls => print_list(&client.get("/v1/sandboxes?page-size=100").await?),
            Verb::Inspect { id } => print_views(&client.get(&format!("/v1/sandbox/{id}/inspect")).await?)?,
            Verb::Rm { id } => client.delete(&format!("/v1/sandbox/{id}")).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print_list(list: &SandboxList) {
    println!("{:<26} {:<12} {:<26} CREATED", "ID", "STATE", "TEMPLATE");
    for item in &list.items {
        println!("{:<26} {:<12} {:<26} {}", item.id, item.state, item.template_id, item.created_at);
    }
    let more = list.total_items.saturating_sub(list.items.len() as u64);
    if more > 0 {
        println!("… and {more} more");
    }
}

fn print_views(views: &SandboxInspection) -> Result<()> {
    let parties =
        [("store", &views.store), ("node", &views.node), ("engine", &views.engine), ("guest", &views.guest)];
    for (party, view) in parties {
        println!("── {party} says ──");
        println!("{}", serde_json::to_string_pretty(view)?);
    }
    Ok(())
}
