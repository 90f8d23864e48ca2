//! Has nodes fetch the images of templates, and hears how that goes.
//!
//! A pull is the node's work and outlives us: after a restart of either side it is asked for again, pinned to the
//! content that was resolved, and the node goes on where it was. What is written down is only how it ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wire::id::TemplateId;
use wire::image::{Digest, ImageSource};
use wire::node::{
    NodeErrorCode, PullEvent, PullFailure, PullFailureCode, PullImage, PullProgress, ResolvedImage,
};
use wire::public::template::TemplateState;

use super::credentials;
use super::record::TemplateRecord;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::nodes::{Lines, Node, NodeFailure};

/// How long a pull may be silent.
const PULL_SILENCE_MAX: Duration = Duration::from_secs(10 * 60);

/// Pulls that one sweep takes up.
const PULLS_MAX: u32 = 256;

/// What is being pulled for which template, and how far it is.
#[derive(Default)]
pub struct Pulls(Mutex<HashMap<Flight, Option<PullProgress>>>);

/// A template, and which of its pulls.
type Flight = (TemplateId, u64);

impl Pulls {
    /// How far a pull is, if it has said so.
    pub fn progress(&self, id: &TemplateId, pull: u64) -> Option<PullProgress> {
        self.all().get(&(id.clone(), pull)).copied().flatten()
    }

    fn note(&self, flight: &Flight, progress: PullProgress) {
        if let Some(known) = self.all().get_mut(flight) {
            *known = Some(progress);
        }
    }

    /// True for the first that takes it.
    fn take_off(&self, flight: &Flight) -> bool {
        let mut all = self.all();
        let is_new = !all.contains_key(flight);
        all.entry(flight.clone()).or_default();
        is_new
    }

    fn land(&self, flight: &Flight) {
        self.all().remove(flight);
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<Flight, Option<PullProgress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pull whose image is known and may have yet to come.
pub struct Begun {
    /// What it is.
    pub resolved: ResolvedImage,
    node: Arc<Node>,
    events: Lines<PullEvent>,
}

/// Begins a pull, and waits until it is known what the source is.
///
/// # Errors
/// [`Error::Pull`] when there is no such image, and [`Error::Slow`] when that cannot be found out in time.
pub async fn begin(fleet: &Fleet, order: &PullImage) -> Result<Begun> {
    let wait = fleet.limits.resolve_wait;
    let slow = |_| Error::Slow { what: "asking the image's registry for it", seconds: wait.as_secs() };
    tokio::time::timeout(wait, resolve(fleet, order)).await.map_err(slow)?
}

async fn resolve(fleet: &Fleet, order: &PullImage) -> Result<Begun> {
    let node = fleet.nodes.any_reachable().await.ok_or(Error::NoNode)?;
    let mut events = node.client.pull(order).await?;
    loop {
        match next(&mut events).await? {
            PullEvent::Resolved(resolved) => return Ok(Begun { resolved, node, events }),
            PullEvent::Progress(_) => {}
            PullEvent::Failed(failure) => return Err(Error::Pull(failure)),
            PullEvent::Done(_) => {
                return Err(NodeFailure::Malformed("a pull was done before it was resolved".into()).into());
            }
        }
    }
}

async fn next(events: &mut Lines<PullEvent>) -> Result<PullEvent> {
    let seconds = PULL_SILENCE_MAX.as_secs();
    let slow = |_| Error::Slow { what: "the next step of the pull", seconds };
    let event = tokio::time::timeout(PULL_SILENCE_MAX, events.next()).await.map_err(slow)??;
    let cut = || NodeFailure::Malformed("the pull's progress ended without its outcome".into());
    Ok(event.ok_or_else(cut)?)
}

/// Takes up every pull that nobody follows.
pub async fn resume(fleet: &Arc<Fleet>) -> Result<()> {
    for record in fleet.store.pulling_templates(PULLS_MAX).await? {
        start(fleet, &record, None);
    }
    Ok(())
}

/// Follows the pull of a template's image until it has ended, unless somebody does; asks for it if it has not `begun`.
pub fn start(fleet: &Arc<Fleet>, record: &TemplateRecord, begun: Option<Begun>) {
    let flight = (record.id.clone(), record.pull);
    if record.state != TemplateState::Pulling || !fleet.pulls.take_off(&flight) {
        return;
    }
    let landing = Landing { fleet: fleet.clone(), flight };
    let record = record.clone();
    tokio::spawn(async move {
        if let Err(error) = run(&landing, &record, begun).await {
            tracing::warn!(
                template = %record.id,
                error = wire::causes::chain(&error),
                "the pull is out of sight; the sweep will ask for it again"
            );
        }
    });
}

/// Ends a flight however its task ends.
struct Landing {
    fleet: Arc<Fleet>,
    flight: Flight,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.fleet.pulls.land(&self.flight);
    }
}

async fn run(landing: &Landing, record: &TemplateRecord, begun: Option<Begun>) -> Result<()> {
    let outcome = match begun {
        Some(begun) => follow(landing, begun).await,
        None => match again(&landing.fleet, record).await {
            Ok(begun) => follow(landing, begun).await,
            Err(error) => Err(error),
        },
    };
    let outcome = match outcome {
        Ok(digest) => Ok(digest),
        Err(error) => Err(verdict(error)?),
    };
    settle(landing, outcome).await
}

/// Begins the pull of an image that was resolved before.
async fn again(fleet: &Fleet, record: &TemplateRecord) -> Result<Begun> {
    let credentials = credentials::unseal(fleet, record)?;
    let order = PullImage { source: pinned(record), credentials, resolve_only: false };
    let begun = begin(fleet, &order).await?;
    if begun.resolved.digest == record.image.manifest {
        return Ok(begun);
    }
    Err(Error::Pull(PullFailure {
        code: PullFailureCode::InvalidImage,
        message: format!(
            "`{}` was {} and is {} now; change the template's uri to it again to take the new one",
            order.source, record.image.manifest, begun.resolved.digest
        ),
    }))
}

/// The source, by content where it can be named so.
fn pinned(record: &TemplateRecord) -> String {
    let uri = record.image.uri.as_deref().unwrap_or_default();
    match uri.parse::<ImageSource>() {
        Ok(ImageSource::Registry(reference)) => reference.at(&record.image.manifest).to_string(),
        _ => uri.to_owned(),
    }
}

/// Hears how it goes until it has ended; the root file system.
async fn follow(landing: &Landing, mut begun: Begun) -> Result<Digest> {
    loop {
        match next(&mut begun.events).await? {
            PullEvent::Progress(progress) => landing.fleet.pulls.note(&landing.flight, progress),
            PullEvent::Resolved(_) => {}
            PullEvent::Failed(failure) => return Err(Error::Pull(failure)),
            PullEvent::Done(built) => {
                // The node has an image it had not when it last reported.
                begun.node.refresh().await?;
                return Ok(built.digest);
            }
        }
    }
}

/// What an error says of the image; the error itself if it says nothing, and the pull may go on out of our sight.
fn verdict(error: Error) -> Result<PullFailure> {
    match error {
        Error::Pull(failure) => Ok(failure),
        Error::SealedCredentials { .. } => {
            Ok(PullFailure { code: PullFailureCode::Internal, message: error.to_string() })
        }
        Error::Node(refusal) if refusal.code == NodeErrorCode::Invalid => {
            Ok(PullFailure { code: PullFailureCode::Refused, message: refusal.message })
        }
        other => Err(other),
    }
}

/// Writes down how it ended, unless another image is wanted by now, and tells those who wait.
async fn settle(landing: &Landing, outcome: std::result::Result<Digest, PullFailure>) -> Result<()> {
    let (id, pull) = &landing.flight;
    let fleet = &landing.fleet;
    if let Err(failure) = &outcome {
        tracing::warn!(template = %id, code = ?failure.code, reason = failure.message, "its image cannot be had");
    }
    let now_ms = fleet.now_ms();
    let change = |record: &mut TemplateRecord| {
        let is_news = record.pulled(*pull, outcome);
        record.updated_at_ms = if is_news { now_ms } else { record.updated_at_ms };
        Ok(is_news)
    };
    fleet.store.change_template(id, change).await?;
    fleet.announcer.announce(id.as_str());
    Ok(())
}
