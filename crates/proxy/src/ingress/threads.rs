//! Threads that each have an event loop of their own, as many as there are CPUs. All that a connection needs is on one of
//! them, its way to the app included: nothing is handed from one CPU to another between a request and its answer.

use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// One of them; it ends when this is dropped, with all that goes on there.
pub struct Thread {
    loops: Handle,
    /// One more for each task.
    tasks: Arc<()>,
    _until_dropped: oneshot::Sender<()>,
}

impl Thread {
    /// A new one, on which `always` goes on.
    ///
    /// # Errors
    /// When the system has none, or nothing to wait for events with.
    pub fn start(name: &str, always: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let loops = runtime.handle().clone();
        let (until_dropped, dropped) = oneshot::channel::<()>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = always => {}
                    _ = dropped => {}
                }
            });
            // What waits for the file system or a name is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { loops, tasks: Arc::default(), _until_dropped: until_dropped })
    }

    /// Has `task` done there.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let counted = self.tasks.clone();
        self.loops.spawn(async move {
            task.await;
            drop(counted);
        });
    }

    /// How many are being done.
    pub fn tasks(&self) -> usize {
        Arc::strong_count(&self.tasks) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_are_counted_while_they_are_done_and_end_with_the_thread() {
        let thread = Thread::start("test", std::future::pending()).unwrap();
        let (go, gone) = oneshot::channel::<()>();
        let (held, ended) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        thread.spawn(async move {
            let _ = gone.await;
            let _ = done.send(std::thread::current().name().map(str::to_owned));
        });
        thread.spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        assert_eq!(thread.tasks(), 2);
        go.send(()).unwrap();
        assert_eq!(is_done.await.unwrap().as_deref(), Some("test"));
        drop(thread);
        assert!(ended.await.is_err(), "it was dropped with the thread");
    }
}
