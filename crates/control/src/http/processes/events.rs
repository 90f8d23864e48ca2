//! `POST …/process/stream` and `GET …/process/{process}/attach`: events as they happen.

use axum::extract::{Extension, RawQuery, Request, State};
use axum::response::Response;
use futures_util::stream;
use http::HeaderMap;
use wire::id::SandboxId;

use super::InProcess;
use super::order::to_stream;
use crate::error::{Error, Result};
use crate::http::App;
use crate::http::body::json_fields;
use crate::http::extract::InSandbox;
use crate::http::patience::json;
use crate::http::query::Query;
use crate::http::sse::{event, sse};
use crate::processes::{self, Telling};
use crate::store::Caller;

/// Where a client that comes back says which event it has seen last.
const LAST_EVENT_ID: &str = "last-event-id";

/// A command's events. It dies with the connection, unless it is detached.
pub async fn stream(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Response> {
    let mut fields = json_fields(&app, request).await?;
    let (order, keep) = to_stream(&mut fields)?;
    fields.finish()?;
    let telling = processes::stream(&app, &caller.team, &id, order, keep).await?;
    Ok(told(app, id, telling))
}

/// The events of a process with an id, those before included.
pub async fn attach(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InProcess { sandbox, process }: InProcess,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let after = after(Query::parse(query.as_deref())?, &headers)?;
    let telling = processes::attach(&app, &caller.team, &sandbox, &process, after).await?;
    Ok(told(app, sandbox, telling))
}

/// The event that was seen last. The header beats the query: a client that comes back by itself repeats its first query.
fn after(mut query: Query, headers: &HeaderMap) -> Result<Option<u64>> {
    let wanted = "the number of an event";
    let after = query.read("after", wanted, |text| text.parse().ok());
    query.finish()?;
    let Some(last) = headers.get(LAST_EVENT_ID) else { return Ok(after) };
    let last = last.to_str().ok().and_then(|text| text.trim().parse().ok());
    last.map(Some).ok_or_else(|| Error::field("Last-Event-ID", format!("must be {wanted}")))
}

fn told(app: App, id: SandboxId, telling: Telling) -> Response {
    let keep_alive = app.limits.keep_alive;
    let events = stream::unfold((app, id, telling), |(app, id, mut telling)| async move {
        let next = telling.next(&app, &id).await?;
        let text = json(&next).map(|json| event(&json, Some(next.seq)));
        Some((text, (app, id, telling)))
    });
    sse(keep_alive, events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, header: Option<&str>, expect: Result<Option<u64>, ()>) {
        let headers =
            header.map(|value| (http::HeaderName::from_static(LAST_EVENT_ID), value.parse().unwrap()));
        let found = after(Query::parse(Some(query)).unwrap(), &headers.into_iter().collect());
        assert_eq!(found.map_err(|_| ()), expect, "{query} {header:?}");
    }

    #[test]
    fn where_to_go_on_is_in_the_query_or_the_header() {
        check("", None, Ok(None));
        check("after=7", None, Ok(Some(7)));
        check("after=7", Some("9"), Ok(Some(9)));
        check("", Some("0"), Ok(Some(0)));
        check("after=-1", None, Err(()));
        check("after=18446744073709551616", None, Err(()));
        check("", Some("x"), Err(()));
    }
}
