//! Accepts connections: so many, each with so long to say what it wants.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::config::Limits;

/// How long a client may take over a request's head, and may leave a connection without one.
const HEADER_WAIT: Duration = Duration::from_secs(60);

/// How long to wait when connections cannot be accepted (no descriptors left, mostly).
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(100);

/// Serves until `shutdown`; then lets requests under way end, for a while.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    limits: &Limits,
    shutdown: impl Future<Output = ()>,
) {
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let stopping = watch::Sender::new(false);
    tokio::select! {
        () = accept(&router, &listener, &permits, &stopping) => {}
        () = shutdown => {}
    }
    drop(listener);
    stopping.send_replace(true);
    let all = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    if tokio::time::timeout(limits.drain, permits.acquire_many(all)).await.is_err() {
        tracing::warn!(seconds = limits.drain.as_secs(), "requests under way are cut off");
    }
}

async fn accept(
    router: &Router,
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    stopping: &watch::Sender<bool>,
) {
    // The semaphore is never closed.
    while let Ok(permit) = permits.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                drop(tokio::spawn(connection(router.clone(), stream, permit, stopping.subscribe())))
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
            }
        }
    }
}

/// Serves one connection, until its end, or until the request under way is answered when the server stops. One that
/// becomes a WebSocket is served elsewhere from then on.
async fn connection(
    router: Router,
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are small and many: none should wait for the next.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let stopped = async { drop(stopping.wait_for(|stopping| *stopping).await) };
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended badly");
    }
    drop(permit);
}
