//! API keys: how they look, and what can be done with them.
//!
//! A key is `atoll_` and 32 random bytes in hexadecimal. It is shown once; what is kept is a hash of it.

use wire::id::{KeyId, TeamId};
use wire::public::key::{CreatedKey, Key, KeyList};

use crate::entropy;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::store::{Caller, KeyRecord, Paging};
use crate::times::rfc3339;

pub use wire::public::key::Scope;

/// What every key starts with, so that it is recognised where it should not be.
pub const PREFIX: &str = "atoll_";

/// Random bytes of a key.
const KEY_BYTES: usize = 32;

/// How exactly it is known when a key was last used, in milliseconds: one write in this time.
pub(crate) const LAST_USED_GRAIN_MS: i64 = 60 * 1000;

/// A new key.
///
/// # Errors
/// The kernel has no random bytes.
pub fn generate() -> Result<String> {
    Ok(format!("{PREFIX}{}", hex::encode(entropy::bytes::<KEY_BYTES>()?)))
}

/// Whether a text has the shape of a key.
pub fn is_well_formed(key: &str) -> bool {
    let digits = key.strip_prefix(PREFIX).unwrap_or_default();
    digits.len() == 2 * KEY_BYTES && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A key somebody wants.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// What people call it.
    pub name: String,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// Its life, if it has an end.
    pub expires_in_seconds: Option<u32>,
    /// Whose it is; nobody said, if it is the caller's team's.
    pub team: Option<TeamId>,
}

/// Makes a key, which is in the answer and nowhere else.
pub(crate) async fn create(fleet: &Fleet, caller: &Caller, order: Order) -> Result<CreatedKey> {
    let team = own_team_unless_operator(caller, order.team)?.unwrap_or_else(|| caller.team.clone());
    if order.scopes.contains(&Scope::Operator) && !caller.may(Scope::Operator) {
        return Err(Error::OperatorOnly);
    }
    let (key, now_ms) = (generate()?, fleet.now_ms());
    let record = KeyRecord {
        id: KeyId::from_entropy(entropy::bytes()?),
        name: order.name,
        team,
        scopes: order.scopes,
        created_at_ms: now_ms,
        expires_at_ms: order.expires_in_seconds.map(|seconds| now_ms + i64::from(seconds) * 1000),
        last_used_at_ms: None,
    };
    fleet.store.add_key(&record, &fleet.pepper.hash(&key), &fleet.limits.team).await?;
    tracing::info!(made = %record.id, team = %record.team, scopes = ?record.scopes, "a key was made");
    Ok(CreatedKey { key, shown: present(record) })
}

/// A page of keys: of the caller's team, or for operators of any one, or of all.
pub(crate) async fn list(
    fleet: &Fleet,
    caller: &Caller,
    team: Option<TeamId>,
    paging: Paging,
) -> Result<KeyList> {
    let team = own_team_unless_operator(caller, team)?;
    let (records, total_items) = fleet.store.keys(team.as_ref(), paging).await?;
    Ok(KeyList { items: records.into_iter().map(present).collect(), total_items })
}

/// Makes a key open nothing any more, from the next request on.
pub(crate) async fn revoke(fleet: &Fleet, caller: &Caller, id: &KeyId) -> Result<()> {
    let is_operator = caller.may(Scope::Operator);
    let found = fleet.store.key(id).await?.filter(|key| is_operator || key.team == caller.team);
    let key = found.ok_or_else(|| Error::not_found("key", id.as_str()))?;
    if key.scopes.contains(&Scope::Operator) && !is_operator {
        return Err(Error::OperatorOnly);
    }
    fleet.store.revoke_key(id, fleet.now_ms()).await?;
    tracing::info!(revoked = %id, team = %key.team, "a key was revoked");
    Ok(())
}

/// The team that was named; for those who are no operators it can only be their own.
fn own_team_unless_operator(caller: &Caller, named: Option<TeamId>) -> Result<Option<TeamId>> {
    match named {
        team if caller.may(Scope::Operator) => Ok(team),
        Some(team) if team != caller.team => Err(Error::OperatorOnly),
        _ => Ok(Some(caller.team.clone())),
    }
}

/// A key as it is shown.
pub(crate) fn present(record: KeyRecord) -> Key {
    Key {
        id: record.id,
        name: record.name,
        team: record.team,
        scopes: record.scopes,
        created_at: rfc3339(record.created_at_ms),
        expires_at: record.expires_at_ms.map(rfc3339),
        last_used_at: record.last_used_at_ms.map(rfc3339),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_distinct_and_recognisable() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, two);
        assert!(one.starts_with(PREFIX));
        assert_eq!(one.len(), PREFIX.len() + 2 * KEY_BYTES);
        assert!(is_well_formed(&one));
        for bad in ["", PREFIX, &one[1..], &one[..one.len() - 1], &one.replace('_', "-")] {
            assert!(!is_well_formed(bad), "{bad:?}");
        }
    }
}
