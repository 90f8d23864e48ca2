//! Accepts connections: so many, each with so long to say what it wants.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    let graceful = GracefulShutdown::new();
    tokio::select! {
        () = accept(&router, &listener, permits, &graceful) => {}
        () = shutdown => {}
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(seconds = limits.drain.as_secs(), "requests under way are cut off");
    }
}

async fn accept(
    router: &Router,
    listener: &TcpListener,
    permits: Arc<Semaphore>,
    graceful: &GracefulShutdown,
) {
    // The semaphore is never closed.
    while let Ok(permit) = permits.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => connect(router, stream, permit, graceful),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
            }
        }
    }
}

fn connect(router: &Router, stream: TcpStream, permit: OwnedSemaphorePermit, graceful: &GracefulShutdown) {
    // Answers are small and many: none should wait for the next.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router.clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended badly");
        }
        drop(permit);
    });
}
