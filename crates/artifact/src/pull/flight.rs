//! The making of an image, as those who wait for it see it.

use tokio::sync::watch;
use wire::node::{BuiltImage, PullEvent, PullPhase, PullProgress};

use crate::oci::failure::{Pulled, internal};

/// How far it is.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub progress: PullProgress,
    /// How it ended.
    pub outcome: Option<Pulled<BuiltImage>>,
}

impl State {
    pub(super) fn new(bytes_total: u64) -> Self {
        let progress = PullProgress { phase: PullPhase::Fetching, bytes_done: 0, bytes_total };
        Self { progress, outcome: None }
    }
}

/// Tells how it goes until it ends.
pub(super) async fn ended(mut state: watch::Receiver<State>, tell: impl Fn(PullEvent)) -> Pulled<BuiltImage> {
    let mut told = None;
    loop {
        let State { progress, outcome } = state.borrow_and_update().clone();
        if let Some(outcome) = outcome {
            return outcome;
        }
        if told != Some(progress) {
            tell(PullEvent::Progress(progress));
            told = Some(progress);
        }
        if state.changed().await.is_err() {
            return Err(internal("the task that makes the image died"));
        }
    }
}
