//! Processes with an id.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use http::StatusCode;
use wire::public::process::{Process, ProcessList};
use wire::sandbox::limits::COMMAND_TIMEOUT_SECONDS;

use super::InProcess;
use super::order::to_keep;
use super::signal::number;
use crate::error::Result;
use crate::http::App;
use crate::http::body::json_fields;
use crate::http::extract::InSandbox;
use crate::http::patience::patiently;
use crate::processes;
use crate::store::Caller;

/// `POST …/process/start`: answers when it runs.
pub async fn start(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<(StatusCode, Json<Process>)> {
    let mut fields = json_fields(&app, request).await?;
    let (order, keep) = to_keep(&mut fields)?;
    fields.finish()?;
    let process = processes::start(&app, &caller.team, &id, &order, &keep).await?;
    Ok((StatusCode::CREATED, Json(process)))
}

/// `GET …/processes`.
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
) -> Result<Json<ProcessList>> {
    let items = processes::list(&app, &caller.team, &id).await?;
    Ok(Json(ProcessList { items }))
}

/// `GET …/process/{process}`.
pub async fn get(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InProcess { sandbox, process }: InProcess,
) -> Result<Json<Process>> {
    processes::get(&app, &caller.team, &sandbox, &process).await.map(Json)
}

/// `POST …/process/{process}/signal`.
pub async fn signal(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InProcess { sandbox, process }: InProcess,
    request: Request,
) -> Result<StatusCode> {
    let mut fields = json_fields(&app, request).await?;
    let signal = number(&mut fields);
    fields.finish()?;
    processes::signal(&app, &caller.team, &sandbox, &process, signal).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/process/{process}/wait`: answers when it has ended, or shows it running when the time is up.
pub async fn wait(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InProcess { sandbox, process }: InProcess,
    request: Request,
) -> Result<Response> {
    let mut fields = json_fields(&app, request).await?;
    let seconds =
        fields.integer("timeout", COMMAND_TIMEOUT_SECONDS).unwrap_or(*COMMAND_TIMEOUT_SECONDS.end());
    fields.finish()?;
    let keep_alive = app.limits.keep_alive;
    let patience = Duration::from_secs(seconds.into());
    let wait = async move { processes::wait(&app, &caller.team, &sandbox, &process, patience).await };
    patiently(StatusCode::OK, keep_alive, wait).await
}

/// `DELETE …/process/{process}`: kills it, if it runs, and forgets it.
pub async fn forget(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InProcess { sandbox, process }: InProcess,
) -> Result<StatusCode> {
    processes::forget(&app, &caller.team, &sandbox, &process).await?;
    Ok(StatusCode::NO_CONTENT)
}
