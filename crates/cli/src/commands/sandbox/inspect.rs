//! `atoll sandbox inspect`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use wire::public::sandbox::SandboxInspection;

use super::Named;
use crate::client::{Ask, Session};
use crate::output::Object;
use crate::table::Table;

/// Prints what the store, the node, the engine and the guest each say of one sandbox.
#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    sandbox: Named,
}

impl Ask for Inspect {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let path = format!("{}/inspect", self.sandbox.path(session).await?);
        let views: Object<SandboxInspection> = session.client.get(&path).await?;
        session.output.show(&views, side_by_side)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn side_by_side(views: &SandboxInspection) -> String {
    let parties =
        [("store", &views.store), ("node", &views.node), ("engine", &views.engine), ("guest", &views.guest)];
    let said = parties.map(|(party, view)| format!("── {party} says ──\n{view:#}\n")).concat();
    format!("{}{said}", end(&views.store).unwrap_or_default())
}

/// Why it ends or ended, which is what most people look for, in words that are not hidden in an object.
fn end(store: &Value) -> Option<String> {
    let end = store.get("end")?;
    let mut facts = Table::facts();
    facts.fact("reason", end.get("reason")?.as_str()?);
    facts.fact_if("seen", end.get("detail").and_then(Value::as_str).filter(|seen| !seen.is_empty()));
    Some(facts.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_end_comes_before_everything_that_is_said_of_it() {
        let ended = json!({ "end": { "reason": "engine_lost", "detail": "signal 9\npanic" } });
        assert_eq!(end(&ended).unwrap(), "reason   engine_lost\nseen     signal 9\\npanic\n");
        assert_eq!(
            end(&json!({ "end": { "reason": "deleted", "detail": "" } })).unwrap(),
            "reason   deleted\n"
        );
        assert_eq!(end(&json!({ "end": null })), None);
    }
}
