//! Every route of the API. Paths that clients call with and without a slash at the end
//! are there twice: a redirect would be an error to them.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};

use super::{
    App, auth, dialect, docs, events, files, health, ingress, keys, observe, operator, presigned, processes,
    ptys, public_ports, sandboxes, snapshots, teams, templates,
};

/// The API of this fleet.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(public(&app))
        .merge(team().route_layer(from_fn_with_state(app.clone(), auth::team)))
        .merge(sandbox0().route_layer(from_fn_with_state(app.clone(), dialect::sandbox0::authorize)))
        .merge(keyed().route_layer(from_fn_with_state(app.clone(), auth::any)))
        .merge(operators().route_layer(from_fn_with_state(app.clone(), auth::operator)))
        .fallback(dialect::no_such_route)
        .method_not_allowed_fallback(dialect::method_not_allowed)
        .layer(from_fn(observe::observe))
        .with_state(app)
}

/// What the ingress may ask, on a socket of its own.
pub fn ingress_router(app: App) -> Router {
    Router::new()
        .route("/v1/route", post(ingress::route))
        .route("/v1/passage", post(ingress::passage))
        .route("/v1/counts", post(ingress::counts))
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
        .route("/v1/events", get(events::of_team))
        .route("/v1/sandbox/{id}/events", get(events::of_sandbox))
        .route("/v1/sandbox/{id}/timeout", post(sandboxes::change_timeout))
        .route("/v1/sandbox/{id}/pause", post(sandboxes::pause))
        .route("/v1/sandbox/{id}/presigned-url", post(presigned::create))
        .route("/v1/sandbox/{id}/presigned-url/{url}", delete(presigned::revoke))
        .route("/v1/sandbox/{id}/presigned-urls", get(presigned::list))
        .route("/v1/sandbox/{id}/public-ports", get(public_ports::get).put(public_ports::set))
        .route("/v1/sandbox/{id}/snapshot/create", post(snapshots::take))
        .route("/v1/sandbox/{id}/fork", post(snapshots::fork))
        .route("/v1/snapshots", get(snapshots::list))
        .route("/v1/snapshot/restore", post(snapshots::restore))
        .route("/v1/snapshot/{id}", get(snapshots::get).delete(snapshots::delete))
        .route("/v1/sandbox/{id}/system/user-home-dir", get(sandboxes::user_home_dir))
        .route("/v1/sandbox/{id}/system/workdir", get(sandboxes::workdir))
        .route("/v1/sandbox/{id}/process/execute", post(processes::execute))
        .route("/v1/sandbox/{id}/process/stream", post(processes::stream))
        .route("/v1/sandbox/{id}/process/batch", post(processes::batch))
        .route("/v1/sandbox/{id}/process/start", post(processes::start))
        .route("/v1/sandbox/{id}/processes", get(processes::list))
        .route("/v1/sandbox/{id}/process/{process}", get(processes::get).delete(processes::forget))
        .route("/v1/sandbox/{id}/process/{process}/attach", get(processes::attach))
        .route("/v1/sandbox/{id}/process/{process}/signal", post(processes::signal))
        .route("/v1/sandbox/{id}/process/{process}/stdin", post(processes::stdin))
        .route("/v1/sandbox/{id}/process/{process}/wait", post(processes::wait))
        .route("/v1/sandbox/{id}/pty", get(ptys::list).post(ptys::create))
        .route("/v1/sandbox/{id}/pty/{pty}", get(ptys::get).delete(ptys::delete))
        .route("/v1/sandbox/{id}/pty/{pty}/resize", post(ptys::resize))
        .route("/v1/sandbox/{id}/pty/{pty}/connect", get(ptys::connect))
        .route("/v1/sandbox/{id}/filesystem/write-file", post(files::write_file))
        .route("/v1/sandbox/{id}/filesystem/write-files", post(files::write_files))
        .route("/v1/sandbox/{id}/filesystem/read-file", post(files::read_file))
        .route("/v1/sandbox/{id}/filesystem/read-files", post(files::read_files))
        .route("/v1/sandbox/{id}/filesystem/ls", post(files::ls))
        .route("/v1/sandbox/{id}/filesystem/glob", post(files::glob))
        .route("/v1/sandbox/{id}/filesystem/grep", post(files::grep))
        .route("/v1/sandbox/{id}/filesystem/tree", post(files::tree))
        .route("/v1/sandbox/{id}/filesystem/watch", post(files::watch))
        .route("/v1/sandbox/{id}/filesystem/stat", post(files::stat))
        .route("/v1/sandbox/{id}/filesystem/exists", post(files::exists))
        .route("/v1/sandbox/{id}/filesystem/mkdir", post(files::mkdir))
        .route("/v1/sandbox/{id}/filesystem/delete", post(files::delete))
        .route("/v1/sandbox/{id}/filesystem/set-permissions", post(files::set_permissions))
        .route("/v1/sandbox/{id}/filesystem/move", post(files::relocate))
        .route("/v1/sandbox/{id}/filesystem/copy", post(files::copy))
        .route("/v1/sandbox/{id}/filesystem/edit-file", post(files::edit_file))
        .route("/v1/sandbox/{id}/filesystem/edit-files", post(files::edit_files))
        .route("/v1/template", post(templates::create))
        .route("/v1/template/{id}", get(templates::get).patch(templates::change).delete(templates::delete))
        .route("/v1/templates", get(templates::list))
}

/// The dialect of Sandbox0's clients: a team's key needed, and every answer in their envelope.
fn sandbox0() -> Router<App> {
    use dialect::sandbox0::templates;
    Router::new().route("/api/v1/templates", get(templates::list).post(templates::create)).route(
        "/api/v1/templates/{id}",
        get(templates::get).put(templates::update).delete(templates::delete).post(templates::from_sandbox),
    )
}

/// A key needed, whatever it opens; who is no operator sees nothing of other teams.
fn keyed() -> Router<App> {
    Router::new()
        .route("/v1/me", get(teams::me))
        .route("/v1/key", post(keys::create))
        .route("/v1/keys", get(keys::list))
        .route("/v1/key/{id}", delete(keys::revoke))
        .route("/v1/sandbox/{id}/inspect", get(sandboxes::inspect))
}

/// An operator's key needed.
fn operators() -> Router<App> {
    Router::new()
        .route("/v1/team", post(teams::create))
        .route("/v1/teams", get(teams::list))
        .route("/v1/team/{id}", get(teams::get).patch(teams::change).delete(teams::delete))
        .route("/v1/template/system", post(operator::build_system_template))
        .route("/v1/templates/prune", post(operator::prune_templates))
        .route("/v1/snapshots/prune", post(operator::prune_snapshots))
        .route("/v1/nodes", get(operator::nodes))
        .route("/v1/leaks", get(operator::leaks))
        .route("/metrics", get(operator::metrics))
}
