//! `/v1/template` and `/v1/templates`.

use axum::Json;
use axum::extract::{Extension, State};
use wire::public::template::{Template, TemplateList};

use super::App;
use super::extract::OfTemplate;
use crate::error::Result;
use crate::store::Caller;
use crate::templates;

/// `GET /v1/template/{id}`.
pub async fn get(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    OfTemplate(id): OfTemplate,
) -> Result<Json<Template>> {
    templates::get(&app, &caller.team, &id).await.map(Json)
}

/// `GET /v1/templates`.
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<TemplateList>> {
    templates::list(&app, &caller.team).await.map(Json)
}
