//! Where requests from outside may go. Asked for each of them anew, so that one that follows a delete goes nowhere.

use wire::guest::AGENT_TCP_PORT;
use wire::id::{SandboxId, TeamId};
use wire::ingress::{Passage, Route};
use wire::token::Token;

use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::record::{Desired, SandboxRecord};
use crate::store::Caller;
use crate::{pauses, sandboxes};

/// The variable by which an image, a template or a sandbox's maker says which port its app listens on.
const PORT_VARIABLE: &str = "PORT";

/// Where a request goes that names a sandbox: with a key of its team to any port, and with whatever else, if it is a key
/// at all, to those that its owner opened to whoever asks.
pub async fn by_name(
    fleet: &Fleet,
    caller: Result<Caller>,
    sandbox: &SandboxId,
    port: Option<u16>,
) -> Result<Passage> {
    let refused = match caller {
        Ok(caller) => match by_key(fleet, &caller, sandbox, port).await {
            Err(refused @ Error::NotFound { .. }) => refused,
            answer => return answer,
        },
        Err(refused @ (Error::Unauthorized | Error::TeamOnly)) => refused,
        Err(error) => return Err(error),
    };
    unlocked(fleet, sandbox, port).await?.ok_or(refused)
}

/// Where a request goes that needs no key, if it is to such a port.
async fn unlocked(fleet: &Fleet, sandbox: &SandboxId, port: Option<u16>) -> Result<Option<Passage>> {
    let found = fleet.store.sandbox(sandbox).await?;
    let Some(record) = found.filter(|record| record.desired != Desired::Deleted) else { return Ok(None) };
    let Some(port) = port.or_else(|| own_port(&record).ok()) else { return Ok(None) };
    if !record.public_ports.contains(&port) {
        return Ok(None);
    }
    let route = route(fleet, &record.team, sandbox, Some(port)).await?;
    Ok(Some(Passage { route, key: None }))
}

async fn by_key(fleet: &Fleet, caller: &Caller, sandbox: &SandboxId, port: Option<u16>) -> Result<Passage> {
    let route = route(fleet, &caller.team, sandbox, port).await?;
    Ok(Passage { route, key: Some(caller.key.clone()) })
}

/// Where a request goes that comes by a presigned URL, whoever sends it.
pub async fn by_token(fleet: &Fleet, token: &Token) -> Result<Passage> {
    let hash = fleet.pepper.hash(token.as_str());
    let opened = fleet.store.presigned(&hash, fleet.now_ms()).await?.ok_or(Error::NoSuchUrl)?;
    let route = route(fleet, &opened.team, &opened.sandbox, Some(opened.port)).await?;
    Ok(Passage { route, key: None })
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
