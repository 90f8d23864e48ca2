//! Fetching one layer, until all of it is here or cannot be had.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use wire::node::PullFailure;

use super::flight::Progress;
use super::partial::Partial;
use super::{Blobs, Turns};
use crate::blocking::blocking;
use crate::oci::failure::{Pulled, Trouble, disk, internal, invalid, own};
use crate::oci::http::Retries;
use crate::oci::manifest::Layer;
use crate::oci::registry::{Coming, Place, Repository, passed_over};

/// Pieces of a layer that wait for the disk.
const PIECES_MAX: usize = 16;

/// A layer being fetched.
struct Fetch<'a> {
    blobs: &'a Blobs,
    repository: &'a Repository,
    layer: &'a Layer,
    progress: &'a watch::Sender<Progress>,
}

/// Brings a layer here, if it is not.
pub(super) async fn fetch(
    blobs: &Blobs,
    repository: &Repository,
    layer: &Layer,
    turns: &Turns,
    progress: &watch::Sender<Progress>,
) -> Pulled<()> {
    let fetch = Fetch { blobs, repository, layer, progress };
    if fetch.is_here().await? {
        return Ok(());
    }
    let closed = |_| internal("the node is stopping");
    let _image = turns.image.acquire().await.map_err(closed)?;
    let _node = turns.node.acquire().await.map_err(closed)?;
    fetch.run().await
}

impl Fetch<'_> {
    /// Whether it has come from this registry before, which still lets us have it.
    async fn is_here(&self) -> Pulled<bool> {
        let (blobs, layer) = (self.blobs.clone(), self.layer.clone());
        let registry = self.repository.registry().to_owned();
        let found = blocking("look for a layer", move || blobs.find_from(&layer, &registry)).await;
        let Some(file) = found.map_err(|error| own(&error))? else { return Ok(false) };
        self.repository.grants(&self.layer.digest).await?;
        self.progress.send_modify(|progress| {
            progress.file = Some(Arc::new(file));
            progress.length = self.layer.size_bytes;
        });
        Ok(true)
    }

    /// Asks one place after the other. What one began the next goes on with.
    async fn run(&self) -> Pulled<()> {
        let mut partial = Some(self.open().await?);
        let fetched = self.fetch_from_any(&mut partial).await;
        // What nothing came of is nothing to go on with.
        if let Some(partial) = partial.filter(|partial| partial.length() == 0) {
            partial.remove();
        }
        fetched
    }

    async fn fetch_from_any(&self, partial: &mut Option<Partial>) -> Pulled<()> {
        for mirror in self.repository.mirrors() {
            match self.fetch_from(mirror, true, partial).await {
                Ok(()) => return Ok(()),
                Err(failure) => passed_over(mirror, &failure.message),
            }
        }
        self.fetch_from(self.repository.upstream(), false, partial).await
    }

    async fn open(&self) -> Pulled<Partial> {
        let path = self.blobs.partial_path(&self.layer.digest, self.repository.registry());
        let size_bytes = self.layer.size_bytes;
        let opened = blocking("open a part of a layer", move || Partial::open(&path, size_bytes)).await;
        let partial = opened.map_err(|error| own(&error))?;
        self.tell(&partial);
        Ok(partial)
    }

    fn tell(&self, partial: &Partial) {
        self.progress.send_modify(|progress| {
            progress.file = Some(partial.file().clone());
            progress.length = partial.length();
        });
    }

    /// Tries one place. If the end is wrong although it did not begin anew, the beginning may have been: once more.
    async fn fetch_from(&self, place: &Place, is_mirror: bool, partial: &mut Option<Partial>) -> Pulled<()> {
        let patience = &self.repository.settings().patience;
        let patience = if is_mirror { patience.with_mirrors() } else { patience.clone() };
        loop {
            let began_at = partial.as_ref().map_or(0, Partial::length);
            self.fill(place, Retries::new(patience.clone(), began_at), partial).await?;
            let Some(came) = partial.take() else { return Err(lost()) };
            match self.finish(place, came).await {
                Ok(()) => return Ok(()),
                Err((failure, cleared)) => {
                    *partial = cleared;
                    if began_at == 0 || partial.is_none() {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// Tries until all is here.
    async fn fill(&self, place: &Place, mut retries: Retries, partial: &mut Option<Partial>) -> Pulled<()> {
        loop {
            match self.attempt(place, partial).await {
                Ok(()) => return Ok(()),
                Err(trouble) => retries.pause(trouble, partial.as_ref().map_or(0, Partial::length)).await?,
            }
        }
    }

    /// One connection's worth.
    async fn attempt(&self, place: &Place, partial: &mut Option<Partial>) -> Result<(), Trouble> {
        let length = partial.as_ref().map_or(0, Partial::length);
        if length == self.layer.size_bytes {
            return Ok(());
        }
        let coming = self.repository.blob(place, &self.layer.digest, length).await?;
        let taken = partial.take().ok_or_else(lost)?;
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        let progress = self.progress.clone();
        let writer = tokio::task::spawn_blocking(move || write(taken, receiver, &progress));
        let passed = self.pass_on(coming, length, sender).await;
        let (written, kept) = writer.await.map_err(|error| internal(error.to_string()))?;
        *partial = kept;
        written.and(passed)
    }

    /// Passes on what is new of what comes.
    async fn pass_on(
        &self,
        mut coming: Coming,
        have: u64,
        sender: mpsc::Sender<Bytes>,
    ) -> Result<(), Trouble> {
        let (mut at, size) = (coming.from, self.layer.size_bytes);
        while let Some(mut piece) = coming.body.next().await? {
            let known = have.saturating_sub(at).min(piece.len() as u64);
            at += piece.len() as u64;
            if at > size {
                let digest = &self.layer.digest;
                return Err(invalid(format!(
                    "the layer {digest} has more than the {size} bytes it should have"
                ))
                .into());
            }
            // A writer that is gone says why.
            if known < piece.len() as u64 && sender.send(piece.split_off(known as usize)).await.is_err() {
                return Ok(());
            }
        }
        match at == size {
            true => Ok(()),
            false => Err(Trouble::passing(format!(
                "the layer {} ended after {at} of {size} bytes",
                self.layer.digest
            ))),
        }
    }

    /// Gives a layer its name if it is what it should be. Else what failed, and the file, cleared.
    async fn finish(&self, place: &Place, partial: Partial) -> Result<(), (PullFailure, Option<Partial>)> {
        if partial.digest() == self.layer.digest {
            let (blobs, digest) = (self.blobs.clone(), self.layer.digest.clone());
            let registry = self.repository.registry().to_owned();
            let installed = blocking("keep a layer", move || {
                partial.install(blobs.dir(), digest.hex())?;
                blobs.note_from(&digest, &registry)
            })
            .await;
            return installed.map_err(|error| (own(&error), None));
        }
        let digest = &self.layer.digest;
        let failure = invalid(format!("{} sent other bytes than {digest}", place.name()));
        let cleared = blocking("clear a part of a layer", move || {
            let mut partial = partial;
            partial.clear()?;
            Ok(partial)
        });
        let cleared = cleared.await.map_err(|error| (own(&error), None))?;
        self.progress.send_modify(|progress| {
            progress.epoch += 1;
            progress.length = 0;
        });
        Err((failure, Some(cleared)))
    }
}

fn lost() -> PullFailure {
    internal("a part of a layer was lost")
}

/// Writes pieces as they come. A full disk gives back what it holds of the layer.
fn write(
    mut partial: Partial,
    mut pieces: mpsc::Receiver<Bytes>,
    progress: &watch::Sender<Progress>,
) -> (Result<(), Trouble>, Option<Partial>) {
    while let Some(piece) = pieces.blocking_recv() {
        if let Err(error) = partial.append(&piece) {
            partial.remove();
            return (Err(disk("keep a layer", &error).into()), None);
        }
        progress.send_modify(|progress| progress.length = partial.length());
    }
    (Ok(()), Some(partial))
}
