//! How people name a snapshot.

use anyhow::{Result, bail};
use wire::id::SnapshotId;
use wire::public::limits::PAGE_SIZE_MAX;
use wire::public::snapshot::SnapshotList;

use crate::client::{Session, encoded};

/// The snapshot with this id or name.
///
/// # Errors
/// When there is none.
pub async fn resolve(session: &Session, name: &str) -> Result<SnapshotId> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    for page in 1.. {
        let path = format!("/v1/snapshots?query={}&page={page}&page-size={PAGE_SIZE_MAX}", encoded(name));
        let list: SnapshotList = session.client.get(&path).await?;
        if let Some(snapshot) = list.items.iter().find(|snapshot| snapshot.name == name) {
            return Ok(snapshot.id.clone());
        }
        if list.items.len() < PAGE_SIZE_MAX as usize {
            break;
        }
    }
    bail!("there is no snapshot `{name}`; `atoll snapshot ls` shows them")
}
