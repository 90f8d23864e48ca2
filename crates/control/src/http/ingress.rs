//! The private door of the ingress: on a socket of its own, which nobody else can reach.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use tokio::net::UnixListener;
use wire::ingress::{Route, RouteQuery};

use super::{App, auth};
use crate::error::Result;
use crate::ingress;

/// Answers the ingress for as long as this runs.
pub async fn serve(app: App, listener: UnixListener) {
    let router = Router::new().route("/v1/route", post(route)).with_state(app);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the ingress can ask nothing any more");
    }
}

async fn route(State(app): State<App>, Json(query): Json<RouteQuery>) -> Result<Json<Route>> {
    let caller = auth::of_ingress(&app, query.key.as_deref()).await?;
    ingress::route(&app, &caller.team, &query).await.map(Json)
}
