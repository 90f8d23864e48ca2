//! Which ports of a sandbox its owner has opened to whoever asks, without a key.

use std::collections::BTreeSet;

use wire::id::{SandboxId, TeamId};
use wire::public::sandbox::PublicPorts;

use crate::error::Result;
use crate::fleet::Fleet;
use crate::record::{Desired, SandboxRecord};
use crate::sandboxes::{ended, owned, unknown};

/// Those that are open.
pub async fn get(fleet: &Fleet, team: &TeamId, id: &SandboxId) -> Result<PublicPorts> {
    let record = owned(fleet, team, id).await?;
    Ok(PublicPorts { ports: record.public_ports.into_iter().collect() })
}

/// Makes these the ones that are open, from the next request on. The sandbox stays as it is, paused or not.
pub async fn set(fleet: &Fleet, team: &TeamId, id: &SandboxId, ports: BTreeSet<u16>) -> Result<PublicPorts> {
    owned(fleet, team, id).await?;
    let change = |record: &mut SandboxRecord, _| {
        let is_news = record.desired != Desired::Deleted && record.public_ports != ports;
        if is_news {
            record.public_ports = ports;
        }
        is_news
    };
    let record = fleet.change(id, change).await?.ok_or_else(|| unknown(id))?;
    if record.desired == Desired::Deleted {
        return Err(ended(&record));
    }
    Ok(PublicPorts { ports: record.public_ports.into_iter().collect() })
}
