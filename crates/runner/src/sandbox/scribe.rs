//! Writes records on a thread of its own: a disk that hangs stops nobody but those who wait for their record.
//!
//! One thread, begun with the node: what is written of a sandbox is written in the order in which it was asked for,
//! also when the host has no thread to give any more.

use std::io;
use std::sync::mpsc::{Sender, channel};

use tokio::sync::oneshot;
use wire::id::SandboxId;

use super::record::{Record, Records};

type Job = Box<dyn FnOnce(&Records) + Send>;

/// Who writes records.
pub struct Scribe(Sender<Job>);

impl Scribe {
    /// One who writes these. He ends with the last who can ask him.
    ///
    /// # Errors
    /// When the host has no thread to give.
    pub fn of(records: Records) -> io::Result<Self> {
        let (sender, jobs) = channel::<Job>();
        let work = move || jobs.into_iter().for_each(|job| job(&records));
        std::thread::Builder::new().name("records".into()).spawn(work)?;
        Ok(Self(sender))
    }

    /// Writes a record, also when whoever asked does not wait for it.
    ///
    /// # Errors
    /// When the disk refuses; an older record is then untouched.
    pub async fn write(&self, record: &Record) -> io::Result<()> {
        let record = record.clone();
        self.ask(move |records| records.write(&record), |_| ()).await
    }

    /// Writes the first record of a sandbox. If whoever asked has gone by then, it is forgotten again: nobody else
    /// has heard of it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn write_first(&self, record: &Record) -> io::Result<()> {
        let (record, id) = (record.clone(), record.id.clone());
        self.ask(move |records| records.write(&record), move |records| drop(records.remove(&id))).await
    }

    /// Forgets a sandbox; it may be forgotten already.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn remove(&self, id: &SandboxId) -> io::Result<()> {
        let id = id.clone();
        self.ask(move |records| records.remove(&id), |_| ()).await
    }

    async fn ask(
        &self,
        work: impl FnOnce(&Records) -> io::Result<()> + Send + 'static,
        unheard: impl FnOnce(&Records) + Send + 'static,
    ) -> io::Result<()> {
        let (told, done) = oneshot::channel();
        let job = move |records: &Records| {
            if told.send(work(records)).is_err() {
                unheard(records);
            }
        };
        let gone = || io::Error::other("the thread that writes records has ended");
        self.0.send(Box::new(job)).map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }
}
