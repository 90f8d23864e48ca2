//! `/v1/team` and `/v1/teams`, for operators, and `/v1/me` for everybody with a key.

use std::ops::RangeInclusive;

use axum::Json;
use axum::extract::{Extension, RawQuery, Request, State};
use http::StatusCode;
use serde_json::{Map, Value};
use wire::public::team::{Me, Team, TeamList, limits};

use super::App;
use super::body::json_fields;
use super::extract::OfTeam;
use super::fields::Fields;
use super::query::Query;
use crate::error::Result;
use crate::store::Caller;
use crate::teams::{self, Changes};

/// What can be limited, and from what to what.
const LIMITS: [(&str, RangeInclusive<u32>); 7] = [
    ("sandboxes", limits::AMOUNT),
    ("vcpu", limits::AMOUNT),
    ("memory_mib", limits::AMOUNT),
    ("keys", limits::KEYS),
    ("templates", limits::AMOUNT),
    ("requests_per_second", limits::REQUESTS),
    ("requests_burst", limits::REQUESTS),
];

/// `POST /v1/team`.
pub async fn create(State(app): State<App>, request: Request) -> Result<(StatusCode, Json<Team>)> {
    let mut fields = json_fields(&app, request).await?;
    let name = fields.required_name("name", limits::NAME_CHARS);
    let limits = own_limits(&mut fields);
    fields.finish()?;
    Ok((StatusCode::CREATED, Json(teams::create(&app, name, &limits).await?)))
}

/// `GET /v1/team/{id}`.
pub async fn get(State(app): State<App>, OfTeam(id): OfTeam) -> Result<Json<Team>> {
    teams::get(&app, &id).await.map(Json)
}

/// `GET /v1/teams`.
pub async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<TeamList>> {
    let mut query = Query::parse(query.as_deref())?;
    let paging = query.paging();
    query.finish()?;
    teams::list(&app, paging).await.map(Json)
}

/// `PATCH /v1/team/{id}`.
pub async fn change(State(app): State<App>, OfTeam(id): OfTeam, request: Request) -> Result<Json<Team>> {
    let mut fields = json_fields(&app, request).await?;
    let name = fields.name("name", limits::NAME_CHARS);
    let changes = Changes { name, limits: own_limits(&mut fields) };
    fields.finish()?;
    teams::change(&app, &id, &changes).await.map(Json)
}

/// `DELETE /v1/team/{id}`.
pub async fn delete(State(app): State<App>, OfTeam(id): OfTeam) -> Result<StatusCode> {
    teams::delete(&app, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/me`.
pub async fn me(State(app): State<App>, Extension(caller): Extension<Caller>) -> Result<Json<Me>> {
    teams::me(&app, &caller).await.map(Json)
}

/// The limits that are given, each known and in its range or `null`. One with a typing error would
/// limit nothing: it is refused, unlike other fields nobody knows.
fn own_limits(fields: &mut Fields) -> Map<String, Value> {
    let Some(given) = fields.take("limits") else { return Map::new() };
    let Value::Object(given) = given else {
        fields.wrong("limits", "must be an object of numbers");
        return Map::new();
    };
    for (name, value) in &given {
        let known = LIMITS.iter().find(|(known, _)| known == name);
        if let Some(error) = known.map_or_else(|| Some(unknown_limit()), |(_, range)| outside(range, value)) {
            fields.wrong(format!("limits.{name}"), error);
        }
    }
    given
}

fn unknown_limit() -> String {
    let known: Vec<_> = LIMITS.iter().map(|(name, _)| *name).collect();
    format!("is no limit of a team; those are {}", known.join(", "))
}

fn outside(range: &RangeInclusive<u32>, value: &Value) -> Option<String> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    let fits = value.is_null() || number.is_some_and(|number| range.contains(&number));
    let wanted = || {
        format!(
            "must be a whole number from {} to {}, or null for the server's default",
            range.start(),
            range.end()
        )
    };
    (!fits).then(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::quota::changed;
    use serde_json::json;
    use wire::public::team::OwnLimits;

    fn check(limits: Value, wrong: &[&str]) {
        let mut fields = Fields::parse(json!({ "limits": limits }).to_string().as_bytes()).unwrap();
        let given = own_limits(&mut fields);
        let found: Vec<String> = match fields.finish() {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            _ => {
                changed(&OwnLimits::default(), &given).expect("what is accepted can be kept");
                Vec::new()
            }
        };
        assert_eq!(found, wrong, "{limits}");
    }

    #[test]
    fn limits_are_known_and_bounded() {
        check(json!({}), &[]);
        check(json!({"sandboxes": 0, "vcpu": 1_000_000_000, "memory_mib": null, "keys": 100}), &[]);
        check(json!({"requests_per_second": 1, "requests_burst": 1_000_000}), &[]);
        check(json!({"sandboxs": 3}), &["limits.sandboxs"]);
        check(
            json!({"keys": 101, "requests_per_second": 0, "vcpu": -1}),
            &["limits.keys", "limits.requests_per_second", "limits.vcpu"],
        );
        check(json!({"sandboxes": "3", "memory_mib": 1.5}), &["limits.memory_mib", "limits.sandboxes"]);
        check(json!([]), &["limits"]);
    }
}
