//! Where requests from outside may go. Asked for each of them anew, so that one that follows a delete goes nowhere.

use wire::guest::AGENT_TCP_PORT;
use wire::id::TeamId;
use wire::ingress::{Route, RouteQuery};

use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::record::SandboxRecord;
use crate::{pauses, sandboxes};

/// The variable by which an image, a template or a sandbox's maker says which port its app listens on.
const PORT_VARIABLE: &str = "PORT";

/// Where a request of this team goes; waits, bounded, for a sandbox that is about to run.
pub async fn route(fleet: &Fleet, team: &TeamId, query: &RouteQuery) -> Result<Route> {
    let node = pauses::ready(fleet, team, &query.sandbox).await?;
    let port = match query.port {
        Some(port) => port,
        None => own_port(&sandboxes::owned(fleet, team, &query.sandbox).await?)?,
    };
    if port == AGENT_TCP_PORT {
        return Err(Error::not_found("port", port.to_string()));
    }
    let node = node.id().ok_or(Error::NoNode)?;
    Ok(Route { sandbox: query.sandbox.clone(), port, node })
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
