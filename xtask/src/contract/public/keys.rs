//! API keys.

use wire::public::key::{CreateKey, CreatedKey, Key, KeyList, Scope};
use wire::public::schema::{Page, PageSize};
use wire::public::team::Me;

use super::Noun;
use super::examples::{CREATED_AT, EXPIRES_AT, key_id, team_id};
use super::failures::Failure::*;
use super::operation::{Access, Operation, delete, get, post};
use super::teams::team;

pub fn noun() -> Noun {
    Noun {
        tag: "Keys",
        text: "A key belongs to a team and opens what its scopes say: `team` the team's objects, `operator` the fleet and every team.",
        operations: vec![create(), list(), revoke(), me()],
    }
}

pub fn key() -> Key {
    Key {
        id: key_id(),
        name: "continuous integration".into(),
        team: team_id(),
        scopes: vec![Scope::Team],
        created_at: CREATED_AT.into(),
        expires_at: Some(EXPIRES_AT.into()),
        last_used_at: None,
    }
}

fn create() -> Operation {
    let order = CreateKey {
        name: "continuous integration".into(),
        scopes: Some(vec![Scope::Team]),
        expires_in: Some(30 * 24 * 60 * 60),
        team: None,
    };
    let created = CreatedKey { key: format!("atoll_{}", "0123456789abcdef".repeat(4)), shown: key() };
    post("/v1/key", "create_key", "Make a key")
        .says("What opens is in `key`, is shown in this answer and is kept nowhere. Only operators make keys with the scope `operator`, and keys of other teams.")
        .access(Access::Keyed)
        .takes(&order)
        .answers(201, "It is made.", &created)
        .fails(&[NotFound, Conflict, Forbidden])
}

fn list() -> Operation {
    get("/v1/keys", "list_keys", "List keys")
        .says("Those of the team of the key that asks; for operators those of every team, or of one.")
        .access(Access::Keyed)
        .in_query::<wire::id::TeamId>("team", "Only those of this team, for operators.")
        .in_query::<Page>("page", "Which page, from 1.")
        .in_query::<PageSize>("page-size", "How many on a page.")
        .answers(200, "A page of them, oldest first.", &KeyList { items: vec![key()], total_items: 1 })
        .fails(&[Forbidden])
}

fn revoke() -> Operation {
    delete("/v1/key/{key_id}", "revoke_key", "Revoke a key")
        .says("From the next request on it opens nothing. The last key with the scope `operator` cannot be revoked.")
        .access(Access::Keyed)
        .in_path("key_id", "The key.", &key_id())
        .answers_nothing(204, "It opens nothing any more.")
        .fails(&[NotFound, Conflict, Forbidden])
}

fn me() -> Operation {
    get("/v1/me", "get_me", "Ask who you are")
        .says("The key that was sent, its team, and what the team may have and has.")
        .access(Access::Keyed)
        .answers(200, "Who you are.", &Me { key: key(), team: team() })
        .fails(&[NotFound])
}
