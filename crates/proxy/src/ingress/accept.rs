//! Accepts connections, so many at once, and shares them out among threads.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Ingress;
use super::threads::Thread;

/// How long to wait when connections cannot be accepted (no descriptors left, mostly).
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(100);

/// A thread, and the ingress as it is there.
type Place = (Thread, Ingress);

impl Ingress {
    /// Serves until `shutdown`; then lets requests under way end, for a while, and cuts the rest off.
    ///
    /// # Errors
    /// When its threads cannot be started.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let limits = &self.door.limits;
        let permits = Arc::new(Semaphore::new(limits.connections_max));
        let stopping = watch::Sender::new(false);
        let threads = (0..available_parallelism().map_or(1, NonZero::get)).map(|_| self.on_a_thread());
        let threads = threads.collect::<io::Result<Vec<Place>>>()?;
        tokio::select! {
            () = accept(&listener, &threads, &permits, &stopping) => {}
            () = self.certificates.reload_for_ever() => {}
            () = self.door.tell() => {}
            () = shutdown => {}
        }
        drop(listener);
        stopping.send_replace(true);
        let all = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
        if tokio::time::timeout(limits.drain, permits.acquire_many(all)).await.is_err() {
            tracing::warn!(seconds = limits.drain.as_secs(), "requests under way are cut off");
        }
        Ok(())
    }

    /// The same, with connections to apps of its own.
    fn on_a_thread(&self) -> io::Result<Place> {
        let mut ingress = self.clone();
        let door = Arc::new(self.door.beside());
        ingress.door = door.clone();
        let thread = Thread::start("ingress", async move { door.keep().await })?;
        Ok((thread, ingress))
    }
}

async fn accept(
    listener: &TcpListener,
    threads: &[Place],
    permits: &Arc<Semaphore>,
    stopping: &watch::Sender<bool>,
) {
    // The semaphore is never closed.
    while let Ok(permit) = permits.clone().acquire_owned().await {
        let accepted = listener.accept().await;
        let given = accepted.and_then(|(stream, address)| give(threads, stream, address, permit, stopping));
        if let Err(error) = given {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
        }
    }
}

/// Has a connection served by the thread that has the fewest.
fn give(
    threads: &[Place],
    stream: TcpStream,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
    stopping: &watch::Sender<bool>,
) -> io::Result<()> {
    let stream = stream.into_std()?;
    let least = threads.iter().min_by_key(|(thread, _)| thread.tasks());
    let Some((thread, ingress)) = least else { return Ok(()) };
    let (ingress, stopping) = (ingress.clone(), stopping.subscribe());
    thread.spawn(async move {
        match TcpStream::from_std(stream) {
            Ok(stream) => ingress.connection(stream, address, permit, stopping).await,
            Err(error) => tracing::warn!(%error, "a connection is given up"),
        }
    });
    Ok(())
}
