//! `/v1/key` and `/v1/keys`.

use axum::Json;
use axum::extract::{Extension, RawQuery, Request, State};
use http::StatusCode;
use wire::id::TeamId;
use wire::public::key::{CreatedKey, KeyList, Scope, limits};

use super::App;
use super::body::json_fields;
use super::extract::OfKey;
use super::fields::Fields;
use super::query::Query;
use crate::error::Result;
use crate::keys::{self, Order};
use crate::store::Caller;

/// `POST /v1/key`.
pub async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<(StatusCode, Json<CreatedKey>)> {
    let mut fields = json_fields(&app, request).await?;
    let order = order(&mut fields);
    fields.finish()?;
    Ok((StatusCode::CREATED, Json(keys::create(&app, &caller, order).await?)))
}

fn order(fields: &mut Fields) -> Order {
    Order {
        name: fields.required_name("name", limits::NAME_CHARS),
        scopes: scopes(fields).unwrap_or_else(|| vec![Scope::Team]),
        expires_in_seconds: fields.integer("expires_in", limits::EXPIRES_IN_SECONDS),
        team: team(fields),
    }
}

fn scopes(fields: &mut Fields) -> Option<Vec<Scope>> {
    let words = fields.strings("scopes")?;
    let known = |word: &String| Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
    let mut scopes: Vec<Scope> = words.iter().filter_map(known).collect();
    if scopes.is_empty() || scopes.len() < words.len() {
        fields.wrong("scopes", "must be one or more of \"team\" and \"operator\"");
    }
    scopes.sort_unstable();
    scopes.dedup();
    Some(scopes)
}

fn team(fields: &mut Fields) -> Option<TeamId> {
    let text = fields.string("team")?;
    let team = text.parse().ok();
    if team.is_none() {
        fields.wrong("team", format!("must be the id of a team, not {text:?}"));
    }
    team
}

/// `GET /v1/keys`. Operators see every team's, or with `team=` one team's.
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<KeyList>> {
    let mut query = Query::parse(query.as_deref())?;
    let team = query.read("team", "the id of a team", |text| text.parse().ok());
    let paging = query.paging();
    query.finish()?;
    keys::list(&app, &caller, team, paging).await.map(Json)
}

/// `DELETE /v1/key/{id}`.
pub async fn revoke(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    OfKey(id): OfKey,
) -> Result<StatusCode> {
    keys::revoke(&app, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::{Value, json};

    fn check(body: Value, wrong: &[&str]) -> Order {
        let mut fields = Fields::parse(body.to_string().as_bytes()).unwrap();
        let order = order(&mut fields);
        let found: Vec<String> = match fields.finish() {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            _ => Vec::new(),
        };
        assert_eq!(found, wrong, "{body}");
        order
    }

    #[test]
    fn a_key_is_of_a_team_unless_more_is_said() {
        assert_eq!(check(json!({"name": " ci "}), &[]).name, "ci");
        assert_eq!(check(json!({"name": "ci"}), &[]).scopes, [Scope::Team]);
        let both = json!({"name": "ci", "scopes": ["team", "operator", "team"]});
        assert_eq!(check(both, &[]).scopes, [Scope::Operator, Scope::Team]);
    }

    #[test]
    fn every_wrong_field_is_named() {
        check(json!({}), &["name"]);
        check(json!({"name": "a\nb"}), &["name"]);
        check(json!({"name": "x".repeat(65), "scopes": []}), &["name", "scopes"]);
        let wrong = json!({"name": "x", "scopes": ["root"], "expires_in": 0, "team": "tpl-x"});
        check(wrong, &["scopes", "expires_in", "team"]);
    }
}
