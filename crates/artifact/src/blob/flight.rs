//! A layer on its way: how far it is, and what of it can be read.

use std::fs::File;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use wire::node::PullFailure;

use super::{Blobs, Turns, fetch};
use crate::oci::manifest::Layer;
use crate::oci::registry::Repository;

/// How far a layer is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Where its bytes are; none before there are some.
    pub file: Option<Arc<File>>,
    /// How many of them.
    pub length: u64,
    /// Grows when those that were there turned out to be wrong, and others come in their place.
    pub epoch: u32,
    /// How it ended.
    pub outcome: Option<Result<(), PullFailure>>,
}

/// A layer on its way. Dropped, it stops, and what came of it is kept for the next.
#[derive(Debug)]
pub(crate) struct Flight {
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
}

impl Flight {
    pub(super) fn start(blobs: Blobs, repository: Repository, layer: Layer, turns: Turns) -> Self {
        let (sender, progress) = watch::channel(Progress::default());
        let task = tokio::spawn(async move {
            let outcome = fetch::fetch(&blobs, &repository, &layer, &turns, &sender).await;
            sender.send_modify(|progress| progress.outcome = Some(outcome));
        });
        Self { progress, task }
    }

    /// How far it is, now and later.
    pub(crate) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.progress.borrow().outcome, Some(Err(_)))
    }

    /// How it ends.
    pub(crate) async fn ended(&self) -> Result<(), PullFailure> {
        let mut progress = self.watch();
        let ended = progress.wait_for(|progress| progress.outcome.is_some()).await;
        let died = || Err(crate::oci::failure::internal("the task that fetches a layer died"));
        ended.map_or_else(|_| died(), |progress| progress.outcome.clone().unwrap_or_else(died))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}
