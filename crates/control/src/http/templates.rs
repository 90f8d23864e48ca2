//! `/v1/template` and `/v1/templates`.

use axum::Json;
use axum::extract::{Extension, Request, State};
use http::StatusCode;
use wire::public::template::{Template, TemplateList};

use super::App;
use super::body::json_fields;
use super::extract::OfTemplate;
use super::sandboxes::to_the_end;
use super::template_fields::{changes, order};
use crate::error::Result;
use crate::store::Caller;
use crate::templates;

/// `POST /v1/template`: answers when its manifest and configuration are verified.
pub async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<(StatusCode, Json<Template>)> {
    let order = order(json_fields(&app, request).await?)?;
    let fleet = app.clone();
    let made = to_the_end(async move { templates::create(&fleet, &caller, order).await }).await?;
    Ok((StatusCode::CREATED, Json(templates::present(&app, made))))
}

/// `GET /v1/template/{id}`.
pub async fn get(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    OfTemplate(id): OfTemplate,
) -> Result<Json<Template>> {
    templates::get(&app, &caller.team, &id).await.map(Json)
}

/// `PATCH /v1/template/{id}`.
pub async fn change(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    OfTemplate(id): OfTemplate,
    request: Request,
) -> Result<StatusCode> {
    let changes = changes(json_fields(&app, request).await?)?;
    to_the_end(async move { templates::change(&app, &caller, &id, changes).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/template/{id}`.
pub async fn delete(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    OfTemplate(id): OfTemplate,
) -> Result<StatusCode> {
    templates::delete(&app, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/templates`.
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<TemplateList>> {
    templates::list(&app, &caller.team).await.map(Json)
}
