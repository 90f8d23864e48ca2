//! A template is made: once its manifest and configuration are here and verified. Layers go on behind the answer.

use std::sync::Arc;

use wire::id::TemplateId;
use wire::image::{ImageConfig, RegistryCredentials};
use wire::node::PullImage;
use wire::public::template::{PullMode, TemplateSpec, TemplateState, Visibility};
use wire::sandbox::{Boot, signal};

use super::record::{Image, Scope, Spec, TemplateRecord};
use super::{credentials, pull, require_operator_for};
use crate::entropy;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::store::Caller;

/// A template somebody wants.
#[derive(Debug, Clone)]
pub struct Order {
    /// What its team will call it.
    pub name: String,
    /// An [`wire::image::ImageSource`], as it was given.
    pub uri: String,
    /// What its registry wants to see.
    pub credentials: Option<RegistryCredentials>,
    /// Who will see it.
    pub visibility: Visibility,
    /// What its sandboxes get.
    pub spec: Spec,
}

/// Makes a template.
pub async fn create(fleet: &Arc<Fleet>, caller: &Caller, order: Order) -> Result<TemplateRecord> {
    let scope = Scope::from(order.visibility);
    require_operator_for(caller, scope)?;
    // Before anything is fetched, and once more when it is written.
    fleet.store.check_template_room(&caller.team, &order.name, scope, &fleet.limits.team).await?;
    let is_lazy = order.spec.known.pull == Some(PullMode::Lazy);
    let wanted = PullImage {
        source: order.uri.clone(),
        credentials: order.credentials.clone(),
        resolve_only: is_lazy,
    };
    let begun = pull::begin(fleet, &wanted).await?;
    require_start(&order.spec.known, &begun.resolved.config)?;
    let record = record(fleet, caller, order, scope, &begun)?;
    fleet.store.add_template(&record, &fleet.limits.team).await?;
    tracing::info!(template = %record.id, name = record.name, state = %record.state, "made");
    pull::start(fleet, &record, Some(begun));
    Ok(record)
}

fn record(
    fleet: &Fleet,
    caller: &Caller,
    order: Order,
    scope: Scope,
    begun: &pull::Begun,
) -> Result<TemplateRecord> {
    let id = TemplateId::from_entropy(entropy::bytes()?);
    let sealed = order.credentials.map(|given| credentials::seal(fleet, &caller.team, &id, &given));
    let is_lazy = order.spec.known.pull == Some(PullMode::Lazy);
    let now_ms = fleet.now_ms();
    Ok(TemplateRecord {
        id,
        scope,
        team: Some(caller.team.clone()),
        name: order.name,
        version: 1,
        spec: order.spec,
        image: Image {
            uri: Some(order.uri),
            manifest: begun.resolved.digest.clone(),
            config: begun.resolved.config.clone(),
            digest: None,
        },
        serving: None,
        state: if is_lazy { TemplateState::Resolved } else { TemplateState::Pulling },
        failure: None,
        pull: 1,
        credentials: sealed.transpose()?,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
    })
}

/// Fails if something is to be waited for that nothing starts, or is to be stopped by a signal there is none of.
pub fn require_start(spec: &TemplateSpec, image: &ImageConfig) -> Result<()> {
    let stop_signal = image.stop_signal.as_deref().filter(|name| !name.is_empty());
    if let Some(Err(error)) = stop_signal.map(signal::number) {
        return Err(Error::field("uri", format!("is an image whose STOPSIGNAL makes no sense: {error}")));
    }
    if spec.ready_check.is_none() || start(spec, image).is_some() {
        return Ok(());
    }
    let error = "has nothing to wait for: the image has neither entrypoint nor command; give a start_cmd too";
    Err(Error::field("ready_check", error))
}

/// What sandboxes start with, if anything.
pub fn boot(spec: &TemplateSpec, image: &ImageConfig) -> Option<Boot> {
    Some(Boot {
        argv: start(spec, image)?,
        ready: spec.ready_check.clone(),
        stop_signal: image.stop_signal.clone(),
    })
}

/// The program and arguments that sandboxes start with, if any.
fn start(spec: &TemplateSpec, image: &ImageConfig) -> Option<Vec<String>> {
    let argv = match &spec.start_cmd {
        Some(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        None => image.entrypoint.iter().chain(&image.cmd).flatten().cloned().collect(),
    };
    (!argv.is_empty()).then_some(argv)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split(' ').map(str::to_owned).collect())
    }

    #[test]
    fn what_starts_is_the_command_line_or_else_the_images() {
        let image =
            ImageConfig { entrypoint: words("/init -q"), cmd: words("serve"), ..ImageConfig::default() };
        let none = TemplateSpec::default();
        assert_eq!(start(&none, &image), words("/init -q serve"));
        assert_eq!(start(&none, &ImageConfig { entrypoint: None, ..image.clone() }), words("serve"));
        assert_eq!(start(&none, &ImageConfig::default()), None);
        let spec = TemplateSpec { start_cmd: Some("run me".into()), ..none };
        assert_eq!(start(&spec, &image).unwrap(), ["/bin/sh", "-c", "run me"]);
    }

    #[test]
    fn an_image_that_is_stopped_by_a_signal_has_one_there_is() {
        let with = |name: &str| ImageConfig { stop_signal: Some(name.into()), ..ImageConfig::default() };
        for good in ["SIGRTMIN+3", "3", ""] {
            assert!(require_start(&TemplateSpec::default(), &with(good)).is_ok(), "{good}");
        }
        assert!(require_start(&TemplateSpec::default(), &with("SIGNOPE")).is_err());
    }
}
