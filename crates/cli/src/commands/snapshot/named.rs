//! How people name a snapshot.

use std::fmt::Write;

use anyhow::{Result, bail};
use wire::id::SnapshotId;
use wire::public::limits::PAGE_SIZE_MAX;
use wire::public::snapshot::SnapshotList;

use crate::client::Session;

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

/// A text as a query's value.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => encoded.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_would_take_for_its_own_is_encoded() {
        assert_eq!(encoded("a b&c=é"), "a%20b%26c%3D%C3%A9");
    }
}
