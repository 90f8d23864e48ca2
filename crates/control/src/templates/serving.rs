//! The image a sandbox is made from now: waited for, bounded, or the reason why there is none.

use std::sync::Arc;

use tokio::time::Instant;
use wire::id::TemplateId;
use wire::image::{Digest, ImageConfig};
use wire::public::template::TemplateState;

use super::record::{TemplateRecord, may_pass};
use super::{pull, unknown};
use crate::error::{Error, Result};
use crate::fleet::Fleet;

/// A template, and the image its sandboxes are made from.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The template.
    pub template: TemplateRecord,
    /// The root file system.
    pub digest: Digest,
    /// How its processes run.
    pub config: ImageConfig,
}

/// Waits until sandboxes can be made from a template; has its image fetched if nobody did.
///
/// # Errors
/// [`Error::TemplatePulling`] when the wait is over, [`Error::TemplateFailed`] with the pull's reason,
/// [`Error::NotFound`] if the template goes meanwhile.
pub async fn serving(fleet: &Arc<Fleet>, template: TemplateRecord) -> Result<Serving> {
    if template.image_now().is_some() {
        return of(template);
    }
    let deadline = Instant::now() + fleet.limits.pull_wait;
    let (id, first) = (template.id.clone(), template.pull);
    let mut watcher = fleet.announcer.watch(id.as_str());
    loop {
        let record = fleet.store.any_template(&id).await?.ok_or_else(|| unknown(&id))?;
        if record.image_now().is_some() {
            return of(record);
        }
        let record = wanted(fleet, record, first).await?;
        pull::start(fleet, &record, None);
        let is_coming = record.state == TemplateState::Pulling;
        if is_coming && tokio::time::timeout_at(deadline, watcher.changed()).await.is_err() {
            let seconds = fleet.limits.pull_wait.as_secs();
            return Err(Error::TemplatePulling { name: record.name, seconds });
        }
    }
}

fn of(template: TemplateRecord) -> Result<Serving> {
    let image = template.image_now().map(|(digest, config)| (digest.clone(), config.clone()));
    let (digest, config) = image.ok_or_else(|| Error::NoImage(template.name.clone()))?;
    Ok(Serving { template, digest, config })
}

/// The template, with its image on its way. One that could not be had before is tried again if that may help: once, for
/// `first` is the pull there was when the wait began.
async fn wanted(fleet: &Fleet, record: TemplateRecord, first: u64) -> Result<TemplateRecord> {
    let again = |record: &TemplateRecord| match (&record.failure, record.state) {
        (Some(failure), TemplateState::Failed) => may_pass(failure.code) && record.pull == first,
        (_, state) => state == TemplateState::Resolved,
    };
    if record.state == TemplateState::Pulling {
        return Ok(record);
    }
    if let Some(failure) = record.failure.as_ref().filter(|_| !again(&record)) {
        return Err(Error::TemplateFailed { name: record.name.clone(), failure: failure.clone() });
    }
    changed(fleet, &record.id, |record| again(record) && record.pull_now()).await
}

/// No node has this image of the template any more: it has to come again, if it came from elsewhere.
///
/// # Errors
/// [`Error::NoImage`] if it is one of ours, which is built and not fetched.
pub async fn lost(fleet: &Arc<Fleet>, serving: Serving) -> Result<Serving> {
    let Serving { template, digest, .. } = serving;
    if template.is_system() {
        return Err(Error::NoImage(template.name));
    }
    tracing::warn!(template = %template.id, %digest, "no node has its image any more; it is fetched again");
    let template = changed(fleet, &template.id, |record| record.lost(&digest)).await?;
    self::serving(fleet, template).await
}

async fn changed(
    fleet: &Fleet,
    id: &TemplateId,
    change: impl FnOnce(&mut TemplateRecord) -> bool,
) -> Result<TemplateRecord> {
    let changed = fleet.store.change_template(id, |record| Ok(change(record))).await?;
    changed.map(|(record, _)| record).ok_or_else(|| unknown(id))
}
