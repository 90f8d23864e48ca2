//! Where requests from outside may go. What is said here holds until something is changed ([`crate::changes`]) or it is over
//! by itself, so that a request that follows a delete goes nowhere.

use wire::guest::AGENT_TCP_PORT;
use wire::id::{KeyId, SandboxId, TeamId};
use wire::ingress::{Allowed, Passage, Route};
use wire::token::Token;

use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::record::{Desired, SandboxRecord};
use crate::sandboxes::{ended, owned};
use crate::store::Caller;
use crate::{pauses, sandboxes};

/// The variable by which an image, a template or a sandbox's maker says which port its app listens on.
const PORT_VARIABLE: &str = "PORT";

/// What lets somebody into a sandbox, whatever state that is in.
pub struct Leave {
    team: TeamId,
    sandbox: SandboxId,
    /// Absent, the sandbox's own.
    port: Option<u16>,
    /// Absent, none was needed.
    key: Option<KeyId>,
    until_ms: Option<i64>,
}

/// What lets those in who name a sandbox: with a key of its team to any port, and with whatever else, if it is a key at all,
/// to those that its owner opened to whoever asks.
pub async fn by_name(
    fleet: &Fleet,
    caller: Result<Caller>,
    sandbox: &SandboxId,
    port: Option<u16>,
) -> Result<Leave> {
    let refused = match caller {
        Ok(caller) => match by_key(fleet, caller, sandbox, port).await {
            Err(refused @ Error::NotFound { .. }) => refused,
            answer => return answer,
        },
        Err(refused @ (Error::Unauthorized | Error::TeamOnly)) => refused,
        Err(error) => return Err(error),
    };
    unlocked(fleet, sandbox, port).await?.ok_or(refused)
}

/// What lets anybody in, if it is to such a port.
async fn unlocked(fleet: &Fleet, sandbox: &SandboxId, port: Option<u16>) -> Result<Option<Leave>> {
    let found = fleet.store.sandbox(sandbox).await?;
    let Some(record) = found.filter(|record| record.desired != Desired::Deleted) else { return Ok(None) };
    let Some(port) = port.or_else(|| own_port(&record).ok()) else { return Ok(None) };
    let is_open = record.public_ports.contains(&port);
    let leave = Leave { team: record.team, sandbox: record.id, port: Some(port), key: None, until_ms: None };
    Ok(is_open.then_some(leave))
}

async fn by_key(fleet: &Fleet, caller: Caller, sandbox: &SandboxId, port: Option<u16>) -> Result<Leave> {
    let record = owned(fleet, &caller.team, sandbox).await?;
    if record.desired == Desired::Deleted {
        return Err(ended(&record));
    }
    let (key, until_ms) = (Some(caller.key), caller.expires_at_ms);
    Ok(Leave { team: record.team, sandbox: record.id, port, key, until_ms })
}

/// What lets those in who come by a presigned URL, whoever they are.
pub async fn by_token(fleet: &Fleet, token: &Token) -> Result<Leave> {
    let hash = fleet.pepper.hash(token.as_str());
    let opened = fleet.store.presigned(&hash, fleet.now_ms()).await?.ok_or(Error::NoSuchUrl)?;
    let (port, until_ms) = (Some(opened.port), Some(opened.expires_at_ms));
    Ok(Leave { team: opened.team, sandbox: opened.sandbox, port, key: None, until_ms })
}

impl Leave {
    /// Until when, if nothing changes.
    pub fn allowed(&self) -> Allowed {
        Allowed { until_ms: self.until_ms.map(i64::unsigned_abs) }
    }

    /// The way in.
    pub async fn passage(self, fleet: &Fleet) -> Result<Passage> {
        let route = route(fleet, &self.team, &self.sandbox, self.port).await?;
        Ok(Passage { route, until_ms: self.allowed().until_ms, key: self.key })
    }
}

/// The way to a sandbox of this team; waits, bounded, for one that is about to run, and wakes one that is paused.
async fn route(fleet: &Fleet, team: &TeamId, sandbox: &SandboxId, port: Option<u16>) -> Result<Route> {
    let node = pauses::ready(fleet, team, sandbox).await?;
    let port = match port {
        Some(port) => port,
        None => own_port(&sandboxes::owned(fleet, team, sandbox).await?)?,
    };
    if port == AGENT_TCP_PORT {
        return Err(Error::not_found("port", port.to_string()));
    }
    let node = node.id().ok_or(Error::NoNode)?;
    Ok(Route { sandbox: sandbox.clone(), port, node })
}

fn own_port(record: &SandboxRecord) -> Result<u16> {
    let named = record.spec.env.get(PORT_VARIABLE).and_then(|port| port.trim().parse().ok());
    named.filter(|port| *port != 0).ok_or_else(|| {
        let id = &record.id;
        Error::field("port", format!("nobody named one, and {id} has no {PORT_VARIABLE}; ask {id}-<port>"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::fresh;

    fn check(value: Option<&str>, expect: Option<u16>) {
        let mut record = fresh();
        record.spec.env =
            value.map(|value| (PORT_VARIABLE.to_owned(), value.to_owned())).into_iter().collect();
        assert_eq!(own_port(&record).ok(), expect, "{value:?}");
    }

    #[test]
    fn a_sandbox_names_its_own_port_in_its_environment() {
        check(Some("8080"), Some(8080));
        check(Some(" 3000\n"), Some(3000));
        check(Some("0"), None);
        check(Some("65536"), None);
        check(Some("tcp://172.17.0.2:80"), None);
        check(None, None);
    }
}
