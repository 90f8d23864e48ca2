//! Every route of the API. Paths that clients call with and without a slash at the end
//! are there twice: a redirect would be an error to them.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

use super::{App, auth, docs, files, health, observe, operator, processes, respond, sandboxes, templates};

/// The API of this fleet.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(public(&app))
        .merge(team().route_layer(from_fn_with_state(app.clone(), auth::team)))
        .merge(operators().route_layer(from_fn_with_state(app.clone(), auth::operator)))
        .fallback(respond::no_such_route)
        .method_not_allowed_fallback(respond::method_not_allowed)
        .layer(from_fn(observe::observe))
        .with_state(app)
}

/// No key needed.
fn public(app: &App) -> Router<App> {
    let routes = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/v1/openapi.json", get(docs::document))
        .route("/docs", get(docs::page));
    if app.metrics.public { routes.route("/metrics", get(operator::metrics)) } else { routes }
}

/// A team's key needed; other teams' objects are not there.
fn team() -> Router<App> {
    Router::new()
        .route("/v1/sandbox", post(sandboxes::create))
        .route("/v1/sandbox/", post(sandboxes::create))
        .route("/v1/sandboxes", get(sandboxes::list))
        .route("/v1/sandbox/{id}", get(sandboxes::get).delete(sandboxes::delete))
        .route("/v1/sandbox/{id}/", get(sandboxes::get).delete(sandboxes::delete))
        .route("/v1/sandbox/{id}/inspect", get(sandboxes::inspect))
        .route("/v1/sandbox/{id}/process/execute", post(processes::execute))
        .route("/v1/sandbox/{id}/process/stream", post(processes::stream))
        .route("/v1/sandbox/{id}/filesystem/write-file", post(files::write_file))
        .route("/v1/sandbox/{id}/filesystem/read-file", post(files::read_file))
        .route("/v1/template/{id}", get(templates::get))
        .route("/v1/templates", get(templates::list))
}

/// An operator's key needed.
fn operators() -> Router<App> {
    Router::new()
        .route("/v1/template/system", post(operator::build_system_template))
        .route("/v1/nodes", get(operator::nodes))
        .route("/v1/leaks", get(operator::leaks))
        .route("/metrics", get(operator::metrics))
}
