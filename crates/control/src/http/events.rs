//! `/v1/sandbox/{id}/events` and `/v1/events`: a page, or, for whoever says so, a stream.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, header};
use wire::public::limits::{PAGE_SIZE, PAGE_SIZE_MAX};

use super::App;
use super::extract::InSandbox;
use super::patience::json;
use super::query::Query;
use super::resume::after;
use super::sse::{event, sse};
use crate::error::Result;
use crate::events::{self, Following, Whose};
use crate::store::Caller;

/// `GET /v1/sandbox/{id}/events`.
pub async fn of_sandbox(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    answer(app, Whose { team: caller.team, sandbox: Some(id) }, query.as_deref(), &headers).await
}

/// `GET /v1/events`.
pub async fn of_team(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    answer(app, Whose { team: caller.team, sandbox: None }, query.as_deref(), &headers).await
}

async fn answer(app: App, whose: Whose, query: Option<&str>, headers: &HeaderMap) -> Result<Response> {
    let mut query = Query::parse(query)?;
    let follow = query.read("follow", "true or false", |text| text.parse().ok());
    let max = query.number("page-size", 1..=PAGE_SIZE_MAX).unwrap_or(PAGE_SIZE);
    let after = after(query, headers)?.unwrap_or(0);
    if follow.unwrap_or_else(|| wants_events(headers)) {
        let following = events::follow(&app, whose, after).await?;
        return Ok(told(&app, following));
    }
    Ok(Json(events::page(&app, &whose, after, max).await?).into_response())
}

/// Whether the client is one for streams, as browsers say it.
fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/event-stream"))
}

fn told(app: &App, following: Following) -> Response {
    let events = stream::unfold(following, |mut following| async move {
        let next = following.next().await?;
        let text = next.and_then(|next| Ok(event(&json(&next)?, Some(next.id))));
        Some((text, following))
    });
    sse(app.limits.keep_alive, events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_names_streams_wants_one() {
        let wants =
            |accept: &str| wants_events(&HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]));
        assert!(wants("text/event-stream") && wants("application/json, text/event-stream;q=0.5"));
        assert!(!wants("*/*") && !wants("application/json") && !wants_events(&HeaderMap::new()));
    }
}
