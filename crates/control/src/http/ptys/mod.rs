//! `/v1/sandbox/{id}/pty`. A terminal's id may be any text: in a path it is percent-encoded, slashes too.

mod order;
mod socket;

use axum::Json;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, FromRequestParts, Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use wire::public::pty::{Pty, PtyList};

use super::App;
use super::body::json_fields;
use super::extract::{InSandbox, in_path};
use crate::error::{Error, Result};
use crate::ptys::{self, Which};
use crate::store::Caller;

impl<S: Send + Sync> FromRequestParts<S> for Which {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let caller = Extension::<Caller>::from_request_parts(parts, state).await;
        let Extension(caller) = caller.map_err(|_| Error::Unauthorized)?;
        let InSandbox(sandbox) = InSandbox::from_request_parts(parts, state).await?;
        let id = in_path(parts, state, "pty", "terminal").await?;
        Ok(Self { team: caller.team, sandbox, id })
    }
}

/// `POST …/pty`.
pub async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<(StatusCode, Json<Pty>)> {
    let spec = order::spec(json_fields(&app, request).await?)?;
    Ok((StatusCode::CREATED, Json(ptys::create(&app, &caller.team, &id, spec).await?)))
}

/// `GET …/pty`.
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
) -> Result<Json<PtyList>> {
    Ok(Json(PtyList { items: ptys::list(&app, &caller.team, &id).await? }))
}

/// `GET …/pty/{id}`.
pub async fn get(State(app): State<App>, which: Which) -> Result<Json<Pty>> {
    Ok(Json(ptys::get(&app, &which).await?))
}

/// `POST …/pty/{id}/resize`.
pub async fn resize(State(app): State<App>, which: Which, request: Request) -> Result<Json<Pty>> {
    let (cols, rows) = order::size(json_fields(&app, request).await?)?;
    Ok(Json(ptys::resize(&app, &which, cols, rows).await?))
}

/// `DELETE …/pty/{id}`.
pub async fn delete(State(app): State<App>, which: Which) -> Result<StatusCode> {
    ptys::delete(&app, &which).await.map(|()| StatusCode::NO_CONTENT)
}

/// `GET …/pty/{id}/connect`: becomes a WebSocket of raw bytes, once the terminal is known to be there.
pub async fn connect(
    State(app): State<App>,
    which: Which,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response> {
    let upgrade =
        upgrade.map_err(|rejection| Error::Body(format!("a terminal is a WebSocket: {rejection}")))?;
    let place = app.sockets.place().ok_or(Error::TooManySockets)?;
    let viewing = ptys::view(&app, &which).await?;
    Ok(socket::bounded(upgrade).on_upgrade(|socket| socket::bridge(app, which, place, viewing, socket)))
}
