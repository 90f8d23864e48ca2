//! What only operators ask.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header;
use wire::node::Pruned;
use wire::public::operator::{LeakList, NodeList, NodeStatus};
use wire::public::template;
use wire::sandbox::{State as SandboxState, limits};

use super::App;
use super::body::json_fields;
use crate::error::{Error, Result};
use crate::{snapshots, templates};

/// `POST /v1/template/system`: builds one of our templates; the answer tells how it goes, a JSON line each.
pub async fn build_system_template(State(app): State<App>, request: Request) -> Result<Response> {
    let mut fields = json_fields(&app, request).await?;
    let name = fields.string("name").unwrap_or_default();
    if !limits::TEMPLATE_NAME_CHARS.contains(&name.chars().count()) {
        fields.wrong("name", "must be the name of a system template, such as \"system/debian:bookworm\"");
    }
    let locked = fields.boolean("locked").unwrap_or_default();
    fields.finish()?;
    let progress = templates::build_system(&app, name, locked).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(progress)).into_response())
}

/// `POST /v1/templates/prune`.
pub async fn prune_templates(State(app): State<App>, request: Request) -> Result<Json<Pruned>> {
    let mut fields = json_fields(&app, request).await?;
    let dry_run = fields.boolean("dry_run").unwrap_or(false);
    let idle = fields.integer("idle_seconds", template::limits::IDLE_SECONDS);
    fields.finish()?;
    let idle = idle.map_or(app.limits.prune_idle, |seconds| Duration::from_secs(seconds.into()));
    templates::prune(&app, idle, dry_run).await.map(Json)
}

/// `POST /v1/snapshots/prune`.
pub async fn prune_snapshots(State(app): State<App>, request: Request) -> Result<Json<Pruned>> {
    let mut fields = json_fields(&app, request).await?;
    let dry_run = fields.boolean("dry_run").unwrap_or(false);
    fields.finish()?;
    snapshots::prune(&app, app.limits.snapshot_age, dry_run).await.map(Json)
}

/// `GET /v1/nodes`.
pub async fn nodes(State(app): State<App>) -> Json<NodeList> {
    app.nodes.refresh().await;
    let status = |node: &std::sync::Arc<crate::nodes::Node>| NodeStatus {
        address: node.socket.display().to_string(),
        reachable: node.is_reachable(),
        report: node.report(),
    };
    Json(NodeList { items: app.nodes.all().iter().map(status).collect() })
}

/// `GET /v1/leaks`: fails if any node does not answer, for then nobody knows.
pub async fn leaks(State(app): State<App>) -> Result<Json<LeakList>> {
    let mut items = Vec::new();
    for node in app.nodes.all() {
        items.extend(node.client.leaks().await.map_err(Error::from)?);
    }
    Ok(Json(LeakList { items }))
}

/// `GET /metrics`, in the Prometheus text format.
pub async fn metrics(State(app): State<App>) -> Result<Response> {
    let counts = app.store.count_by_state().await?;
    for state in SandboxState::ALL.into_iter().filter(|state| *state != SandboxState::Deleted) {
        let count = counts.get(&state).copied().unwrap_or(0);
        metrics::gauge!("atoll_sandboxes", "state" => state.as_str()).set(count as f64);
    }
    if let Ok(bytes) = app.store.place().free_bytes() {
        metrics::gauge!("atoll_disk_free_bytes").set(bytes as f64);
    }
    for (kind, count) in leaks_by_kind(&app) {
        metrics::gauge!("atoll_leaks", "kind" => kind).set(count as f64);
    }
    let page = (app.metrics.render)() + &app.ingress.page();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response())
}

/// What nobody owned on any node, when each last looked.
fn leaks_by_kind(app: &App) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for report in app.nodes.all().iter().filter_map(|node| node.report()) {
        for (kind, count) in report.leaks {
            *sums.entry(kind).or_default() += count;
        }
    }
    sums
}
