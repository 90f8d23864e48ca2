//! The private door of the ingress: on a socket of its own, which nobody else can reach.

use std::time::Duration;

use axum::extract::State;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use wire::ingress::counts::Counts;
use wire::ingress::{Allowed, Destination, Passage, RouteQuery};

use super::router::ingress_router;
use super::{App, auth};
use crate::error::Result;
use crate::ingress::{self, Leave};

/// How long to wait when connections cannot be accepted (no descriptors left, mostly).
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(100);

/// Answers the ingress for as long as this runs, and no longer: who asks later is to ask the next control.
pub async fn serve(app: App, listener: UnixListener) {
    let router = ingress_router(app);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(router.clone(), stream))),
                Err(error) => {
                    tracing::warn!(%error, "the ingress cannot be heard");
                    tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(router: Router, stream: UnixStream) {
    let service = TowerToHyperService::new(router);
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection of the ingress ended badly");
    }
}

/// `POST /v1/route`.
pub async fn route(State(app): State<App>, Json(query): Json<RouteQuery>) -> Result<Json<Passage>> {
    leave(&app, query).await?.passage(&app).await.map(Json)
}

/// `POST /v1/passage`.
pub async fn passage(State(app): State<App>, Json(query): Json<RouteQuery>) -> Result<Json<Allowed>> {
    Ok(Json(leave(&app, query).await?.allowed()))
}

/// `POST /v1/counts`.
pub async fn counts(State(app): State<App>, Json(counts): Json<Counts>) -> Json<()> {
    app.ingress.tell(counts);
    Json(())
}

async fn leave(app: &App, query: RouteQuery) -> Result<Leave> {
    match query.to {
        Destination::Presigned(token) => ingress::by_token(app, &token).await,
        Destination::Sandbox { sandbox, port } => {
            let caller = auth::of_ingress(app, query.key.as_deref()).await;
            ingress::by_name(app, caller, &sandbox, port).await
        }
    }
}
