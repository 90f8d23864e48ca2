//! Tells those who wait for a sandbox, or for any of a team, that a record has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// By the id of the sandbox or team: no id of the one is an id of the other.
type Waiting = Arc<Mutex<HashMap<String, watch::Sender<()>>>>;

/// Who waits for what. Holds an entry only while somebody does.
#[derive(Default)]
pub struct Announcer {
    waiting: Waiting,
}

/// Waits for changes of one sandbox or team, from the moment it was made.
pub struct Watcher {
    id: String,
    changes: Option<watch::Receiver<()>>,
    waiting: Waiting,
}

impl Announcer {
    /// Watches a sandbox, or all of a team. Read the record after this, or a change in between is missed.
    pub fn watch(&self, id: &str) -> Watcher {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = waiting.entry(id.to_owned()).or_insert_with(|| watch::channel(()).0).subscribe();
        Watcher { id: id.to_owned(), changes: Some(changes), waiting: self.waiting.clone() }
    }

    /// The record of this sandbox, or of one of this team, has changed.
    pub fn announce(&self, id: &str) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.get(id) {
            sender.send_replace(());
        }
    }
}

impl Watcher {
    /// Returns when something has changed since this was made or last returned.
    pub async fn changed(&mut self) {
        if let Some(changes) = &mut self.changes {
            // The sender lives in the map for as long as this does.
            let _ = changes.changed().await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.changes = None;
        if waiting.get(&self.id).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_before_the_wait_is_not_missed_and_nothing_is_left_behind() {
        let announcer = Announcer::default();
        let (mut one, mut two) = (announcer.watch("sbx-1"), announcer.watch("sbx-1"));
        announcer.announce("sbx-1");
        one.changed().await;
        two.changed().await;
        drop(one);
        assert_eq!(announcer.waiting.lock().unwrap().len(), 1);
        drop(two);
        assert!(announcer.waiting.lock().unwrap().is_empty());
    }
}
