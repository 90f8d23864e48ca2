//! `POST …/process/execute`.

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use http::StatusCode;

use super::order::to_run;
use crate::error::Result;
use crate::http::App;
use crate::http::body::json_fields;
use crate::http::extract::InSandbox;
use crate::http::patience::patiently;
use crate::processes;
use crate::store::Caller;

/// All that a command says and how it ended. The command dies with the connection.
pub async fn execute(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Response> {
    let mut fields = json_fields(&app, request).await?;
    let order = to_run(&mut fields);
    fields.finish()?;
    let keep_alive = app.limits.keep_alive;
    let run = async move { processes::execute(&app, &caller.team, &id, &order).await };
    patiently(StatusCode::OK, keep_alive, run).await
}
