//! `POST …/process/{process}/stdin[?eof=true]`: the body is what the process reads.

use axum::extract::{Extension, RawQuery, Request, State};
use http::StatusCode;

use super::InProcess;
use crate::content::Content;
use crate::error::Result;
use crate::http::App;
use crate::http::query::Query;
use crate::processes;
use crate::store::Caller;

/// Passes the body on as it comes; answers when the process's pipe has all of it.
pub async fn stdin(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InProcess { sandbox, process }: InProcess,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<StatusCode> {
    let (bytes_max, idle) = (app.limits.upload_bytes_max, app.limits.body_idle);
    let mut content = Content::new(request.into_body(), "the input", bytes_max, idle);
    let sent = match eof(query.as_deref()) {
        Ok(eof) => processes::send(&app, &caller.team, &sandbox, &process, eof, &mut content).await,
        Err(error) => Err(error),
    };
    if sent.is_err() {
        content.drain().await;
    }
    sent.map(|()| StatusCode::NO_CONTENT)
}

fn eof(query: Option<&str>) -> Result<bool> {
    let mut query = Query::parse(query)?;
    let eof = query.read("eof", "true or false", |text| match text {
        "true" | "1" | "" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    });
    query.finish()?;
    Ok(eof.unwrap_or(false))
}
