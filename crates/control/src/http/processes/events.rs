//! `POST …/process/stream` and `GET …/process/{process}/attach`: events as they happen.

use axum::extract::{Extension, RawQuery, Request, State};
use axum::response::Response;
use futures_util::stream;
use http::HeaderMap;
use wire::id::SandboxId;

use super::InProcess;
use super::order::to_stream;
use crate::error::Result;
use crate::http::App;
use crate::http::body::json_fields;
use crate::http::extract::InSandbox;
use crate::http::patience::json;
use crate::http::query::Query;
use crate::http::resume::after;
use crate::http::sse::{event, sse};
use crate::processes::{self, Telling};
use crate::store::Caller;

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

fn told(app: App, id: SandboxId, telling: Telling) -> Response {
    let keep_alive = app.limits.keep_alive;
    let events = stream::unfold((app, id, telling), |(app, id, mut telling)| async move {
        let next = telling.next(&app, &id).await?;
        let text = json(&next).map(|json| event(&json, Some(next.seq)));
        Some((text, (app, id, telling)))
    });
    sse(keep_alive, events)
}
