//! What can be done with sandboxes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wire::id::{NodeId, SandboxId, TeamId, TemplateId};
use wire::node::{Capacity, Inspection, NodeErrorCode, Origin, SandboxSpec};
use wire::public::sandbox::{Sandbox, SandboxInspection, SandboxList, SandboxListItem};
use wire::sandbox::{Reason, Resources, State, defaults};
use wire::snapshot::Root;

use crate::config::Limits;
use crate::converge;
use crate::entropy;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::nodes::NodeFailure;
use crate::placement::{Refusal, place};
use crate::quota;
use crate::record::{Desired, SandboxRecord, Step};
use crate::snapshots::record::SnapshotRecord;
use crate::store::{Admission, CreateKey, Page, Promised};
use crate::templates::{self, Serving};
use crate::times::{rfc3339, unix_seconds};

/// How long to wait for a node to say that a sandbox ended, when a connection to it broke.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(1);

/// A sandbox somebody wants.
#[derive(Debug, Clone)]
pub struct Order {
    /// Made from what.
    pub template_name: String,
    /// Virtual CPUs; absent, the template's.
    pub vcpu: Option<u32>,
    /// Memory, in MiB; absent, the template's.
    pub memory_mib: Option<u32>,
    /// Life, in seconds.
    pub timeout_seconds: u32,
    /// Whether it is paused, and does not end, when its time is up.
    pub auto_pause: bool,
    /// Added to the environment of the image and of the template.
    pub env: BTreeMap<String, String>,
    /// What it may reach, as it was said; absent, as the template says.
    pub network_policy: Option<Value>,
    /// Its ports that are open to whoever asks, without a key.
    pub public_ports: BTreeSet<u16>,
}

/// A sandbox that was asked for.
pub struct Made {
    /// The sandbox.
    pub sandbox: Sandbox,
    /// Whether it was made by this request, and not by an earlier one with the same key.
    pub is_new: bool,
}

/// What a sandbox will be, with everything resolved.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Made from what.
    pub template: TemplateId,
    /// What people call that.
    pub template_name: String,
    /// Made of what.
    pub spec: SandboxSpec,
    /// What it may reach.
    pub network_policy: Option<Value>,
    /// Its ports that are open to whoever asks, without a key.
    pub public_ports: BTreeSet<u16>,
    /// Where alone it can be, if not anywhere.
    pub node: Option<NodeId>,
}

impl Plan {
    fn from_template(from: &Serving, order: &Order, limits: &Limits) -> Self {
        let template = &from.template;
        Self {
            template: template.id.clone(),
            template_name: template.name.clone(),
            spec: spec(from, order, limits),
            network_policy: order
                .network_policy
                .clone()
                .or_else(|| template.spec.known.network_policy.clone()),
            public_ports: order.public_ports.clone(),
            node: None,
        }
    }

    /// One that goes on from a snapshot.
    pub fn from_snapshot(snapshot: SnapshotRecord, root: Root, is_fork: bool) -> Self {
        let mut spec = snapshot.spec;
        spec.from = Some(Origin { snapshot: root, is_fork });
        Self {
            template_name: snapshot.template.to_string(),
            template: snapshot.template,
            spec,
            network_policy: snapshot.network_policy,
            // Who opened a port of one sandbox has opened none of another.
            public_ports: BTreeSet::new(),
            node: Some(snapshot.node),
        }
    }
}

/// Makes a sandbox of a template; returns when it runs. With a key, at most once.
pub async fn create(fleet: &Arc<Fleet>, team: &TeamId, order: Order, key: Option<CreateKey>) -> Result<Made> {
    let (id, is_new) = match made_before(fleet, team, key.as_ref()).await? {
        Some(id) => (id, false),
        None => {
            fleet.check_room()?;
            let template = templates::by_name(fleet, team, &order.template_name).await?;
            let from = templates::serving(fleet, template).await?;
            match admit(fleet, team, &Plan::from_template(&from, &order, &fleet.limits), key.as_ref()).await {
                Err(Error::NoImage(_)) => {
                    let from = templates::lost(fleet, from).await?;
                    let plan = Plan::from_template(&from, &order, &fleet.limits);
                    try_admit(fleet, team, &plan, key.as_ref()).await?
                }
                admitted => admitted?,
            }
        }
    };
    bring_up(fleet, id, is_new).await
}

/// Makes a sandbox as planned; returns when it runs. With a key, at most once: then nothing is planned anew.
pub async fn make(
    fleet: &Arc<Fleet>,
    team: &TeamId,
    plan: impl Future<Output = Result<Plan>>,
    key: Option<CreateKey>,
) -> Result<Made> {
    let (id, is_new) = match made_before(fleet, team, key.as_ref()).await? {
        Some(id) => (id, false),
        None => {
            fleet.check_room()?;
            admit(fleet, team, &plan.await?, key.as_ref()).await?
        }
    };
    bring_up(fleet, id, is_new).await
}

async fn bring_up(fleet: &Arc<Fleet>, id: SandboxId, is_new: bool) -> Result<Made> {
    converge::start(fleet, &id, Step::Put);
    // A create that fails is answered when nothing of it is left.
    let wait = fleet.limits.create_wait + fleet.limits.delete_wait;
    let mut record = fleet.wait_for(&id, wait, SandboxRecord::is_settled).await?;
    // What it starts with has a time of its own.
    if let Some(slow) = record.as_ref().filter(|record| !record.is_settled()) {
        record = fleet.wait_for(&id, slow.spec.ready_wait(), SandboxRecord::is_settled).await?;
    }
    let sandbox = created(record.ok_or_else(|| unknown(&id))?)?;
    Ok(Made { sandbox, is_new })
}

async fn made_before(fleet: &Fleet, team: &TeamId, key: Option<&CreateKey>) -> Result<Option<SandboxId>> {
    let Some(key) = key else { return Ok(None) };
    fleet.store.created_with(team, key, fleet.ago_ms(fleet.limits.idempotency_retention)).await
}

/// Chooses a node, reserves the place, records the sandbox; its id, and whether it is a new one.
async fn admit(
    fleet: &Arc<Fleet>,
    team: &TeamId,
    plan: &Plan,
    key: Option<&CreateKey>,
) -> Result<(SandboxId, bool)> {
    match try_admit(fleet, team, plan, key).await {
        // What is known of the nodes may be old.
        Err(Error::NoNode | Error::NoImage(_)) => fleet.nodes.refresh().await,
        admitted => return admitted,
    }
    try_admit(fleet, team, plan, key).await
}

async fn try_admit(
    fleet: &Fleet,
    team: &TeamId,
    plan: &Plan,
    key: Option<&CreateKey>,
) -> Result<(SandboxId, bool)> {
    let id = SandboxId::from_entropy(entropy::bytes()?);
    let since_ms = fleet.ago_ms(fleet.limits.idempotency_retention);
    let choose = |promised: &Promised| {
        let node = choose(fleet, plan, promised)?;
        Ok(fresh(plan, id, team.clone(), node, fleet.now_ms()))
    };
    match fleet.store.admit(team, key, since_ms, choose).await? {
        Admission::Admitted(id) => {
            fleet.announcer.announce(team.as_str());
            Ok((id, true))
        }
        Admission::MadeBefore(id) => Ok((id, false)),
    }
}

/// The node that has room for it, if its team may have it.
fn choose(fleet: &Fleet, plan: &Plan, promised: &Promised) -> Result<NodeId> {
    let Resources { vcpu, memory_mib, .. } = plan.spec.resources;
    let wanted = Capacity { sandboxes: 1, vcpu, memory_mib: memory_mib.into() };
    let limits = quota::effective(&fleet.limits.team, &promised.team.own);
    quota::admit(&limits, &promised.team.used, &wanted)?;
    let mut candidates = fleet.nodes.candidates(&plan.spec.image, &promised.nodes);
    candidates.retain(|candidate| plan.node.as_ref().is_none_or(|node| *node == candidate.id));
    place(&wanted, &candidates).map_err(|refusal| match refusal {
        Refusal::NoNode => Error::NoNode,
        Refusal::NoImage => Error::NoImage(plan.template_name.clone()),
        Refusal::Full => Error::NoCapacity { vcpu, memory_mib },
    })
}

/// The record of a sandbox that has just been asked for.
fn fresh(plan: &Plan, id: SandboxId, team: TeamId, node: NodeId, now_ms: i64) -> SandboxRecord {
    SandboxRecord {
        id,
        team,
        template: plan.template.clone(),
        node,
        desired: Desired::Running,
        observed: State::Starting,
        generation: 1,
        spec: plan.spec.clone(),
        network_policy: plan.network_policy.clone(),
        public_ports: plan.public_ports.clone(),
        end: None,
        failure: None,
        timeout_at_ms: None,
        ends_at_ms: None,
        seen_generation: 0,
        created_at_ms: now_ms,
        launched_at_ms: None,
        state_changed_at_ms: now_ms,
        deleted_at_ms: None,
    }
}

/// What a sandbox of this template is made of: what its maker says beats the template, and that beats the image.
fn spec(from: &Serving, order: &Order, limits: &Limits) -> SandboxSpec {
    let (image, template) = (&from.config, &from.template.spec.known);
    let mut env = image.env.clone().unwrap_or_default();
    env.extend(template.env_vars.clone().unwrap_or_default());
    env.extend(order.env.clone());
    SandboxSpec {
        image: from.digest.clone(),
        resources: Resources {
            vcpu: order.vcpu.or(template.vcpu).unwrap_or(defaults::VCPU),
            memory_mib: order.memory_mib.or(template.memory).unwrap_or(defaults::MEMORY_MIB),
            disk_mib: template.disk.unwrap_or(limits.disk_mib),
            processes_max: limits.processes_max,
        },
        timeout_seconds: order.timeout_seconds,
        env,
        workdir: if image.working_dir.is_empty() { "/".to_owned() } else { image.working_dir.clone() },
        user: image.user.clone(),
        boot: templates::boot(template, image),
        auto_pause: order.auto_pause,
        from: None,
    }
}

/// What a create answers, the first time and every time after.
fn created(record: SandboxRecord) -> Result<Sandbox> {
    if record.launched_at_ms.is_some() {
        return Ok(present(record));
    }
    match record.end_reason() {
        Reason::Deleted if record.desired == Desired::Deleted => Err(ended(&record)),
        _ if record.desired == Desired::Deleted => {
            Err(Error::CreateFailed { failure: record.failure, detail: failure_detail(&record) })
        }
        _ => Err(Error::CreateFailed {
            failure: Some(NodeErrorCode::Timeout),
            detail: "it is still being made; the sweep goes on with it".into(),
        }),
    }
}

fn failure_detail(record: &SandboxRecord) -> String {
    let detail = record.end_detail();
    if detail.is_empty() { record.end_reason().to_string() } else { detail.to_owned() }
}

/// One sandbox, living or lately deceased.
pub async fn get(fleet: &Fleet, team: &TeamId, id: &SandboxId) -> Result<Sandbox> {
    owned(fleet, team, id).await.map(present)
}

/// The record of a sandbox of this team, unless it has been gone for too long.
pub async fn owned(fleet: &Fleet, team: &TeamId, id: &SandboxId) -> Result<SandboxRecord> {
    let kept_since_ms = fleet.ago_ms(fleet.limits.record_retention);
    let record = fleet.store.sandbox(id).await?.filter(|record| record.team == *team);
    let fresh = |record: &SandboxRecord| record.deleted_at_ms.is_none_or(|at_ms| at_ms > kept_since_ms);
    record.filter(fresh).ok_or_else(|| unknown(id))
}

/// There is no such sandbox.
pub fn unknown(id: &SandboxId) -> Error {
    Error::not_found("sandbox", id.as_str())
}

/// A page of the team's sandboxes.
pub async fn list(fleet: &Fleet, team: &TeamId, page: &Page) -> Result<SandboxList> {
    let (records, total_items) = fleet.store.list(team, page).await?;
    Ok(SandboxList { items: records.into_iter().map(present_item).collect(), total_items })
}

/// Has a sandbox deleted, whatever its state. Once this returns, nothing brings it back.
pub async fn delete(fleet: &Arc<Fleet>, team: &TeamId, id: &SandboxId) -> Result<()> {
    owned(fleet, team, id).await?;
    fleet.change(id, |record, now_ms| record.want_deleted(Reason::Deleted, "", now_ms)).await?;
    converge::start(fleet, id, Step::Delete);
    let gone = |record: &SandboxRecord| record.observed == State::Deleted;
    fleet.wait_for(id, fleet.limits.delete_wait, gone).await?;
    Ok(())
}

/// What each party says of one sandbox. `team` is `None` for operators, who see every team's.
pub async fn inspect(fleet: &Fleet, team: Option<&TeamId>, id: &SandboxId) -> Result<SandboxInspection> {
    let record = match team {
        Some(team) => owned(fleet, team, id).await?,
        None => fleet.store.sandbox(id).await?.ok_or_else(|| unknown(id))?,
    };
    let inspection = match fleet.nodes.get(&record.node).await {
        Some(node) => {
            node.client.inspect(id).await.unwrap_or_else(|failure| unseen(&wire::causes::chain(&failure)))
        }
        None => unseen("its node cannot be reached"),
    };
    let Inspection { node, engine, guest } = inspection;
    Ok(SandboxInspection { store: present_record(record), node, engine, guest })
}

fn unseen(why: &str) -> Inspection {
    let error = json!({ "error": why });
    Inspection { node: error.clone(), engine: error.clone(), guest: error }
}

/// The record for people; the values of the environment are the owner's business alone.
fn present_record(mut record: SandboxRecord) -> Value {
    record.spec.env.values_mut().for_each(|value| *value = "(not shown)".into());
    serde_json::to_value(record).unwrap_or_else(|error| json!({ "error": error.to_string() }))
}

/// Why nothing can be asked of this sandbox any more.
pub fn ended(record: &SandboxRecord) -> Error {
    let (id, reason) = (record.id.clone(), record.end_reason());
    match record.observed {
        State::Deleted => Error::SandboxDeleted { id, reason, detail: record.end_detail().to_owned() },
        _ => Error::SandboxDeleting { id, reason },
    }
}

/// Says why an exchange with a sandbox failed: the sandbox may have ended under it, or been paused.
pub async fn explain(fleet: &Fleet, id: &SandboxId, failure: NodeFailure) -> Error {
    let leaving = |record: &SandboxRecord| record.desired == Desired::Deleted;
    let parting =
        |record: &SandboxRecord| record.desired == Desired::Paused || record.observed == State::Snapshotting;
    let known = fleet.wait_for(id, LAST_WORDS_WAIT, |record| leaving(record) || parting(record)).await;
    match known {
        Ok(Some(record)) if leaving(&record) => ended(&record),
        Ok(Some(record)) if parting(&record) => Error::PausedMeanwhile { id: id.clone() },
        _ => match failure {
            NodeFailure::Unreachable(source) | NodeFailure::Malformed(source) => Error::Broken(source),
            other => other.into(),
        },
    }
}

/// Why a sandbox ends or has ended; `None` while it is to run.
pub async fn leaving(fleet: &Fleet, id: &SandboxId) -> Result<Option<Error>> {
    let record = fleet.store.sandbox(id).await?.ok_or_else(|| unknown(id))?;
    Ok((record.desired == Desired::Deleted).then(|| ended(&record)))
}

/// A sandbox as its owner sees it.
pub fn present(record: SandboxRecord) -> Sandbox {
    let (reason, reason_detail) = match record.end {
        Some(end) => (Some(end.reason), Some(end.detail).filter(|detail| !detail.is_empty())),
        None => (None, None),
    };
    Sandbox {
        id: record.id,
        template_id: record.template,
        state: record.observed,
        vcpu: record.spec.resources.vcpu,
        memory: record.spec.resources.memory_mib,
        disk: record.spec.resources.disk_mib,
        timeout: record.spec.timeout_seconds,
        auto_pause: record.spec.auto_pause,
        created_at: rfc3339(record.created_at_ms),
        timeout_at: record.timeout_at_ms.map(unix_seconds),
        network_policy: record.network_policy,
        mounts: Vec::new(),
        public_ports: record.public_ports.into_iter().collect(),
        reason,
        reason_detail,
    }
}

fn present_item(record: SandboxRecord) -> SandboxListItem {
    SandboxListItem {
        id: record.id,
        template_id: record.template,
        pod_id: record.node,
        state: record.observed,
        launch_time: record.launched_at_ms.map(rfc3339),
        state_change_time: Some(rfc3339(record.state_changed_at_ms)),
        timeout_at: record.timeout_at_ms.map(unix_seconds),
        created_at: rfc3339(record.created_at_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::fresh;
    use wire::image::{Digest, ImageConfig};
    use wire::public::template::TemplateSpec;

    #[test]
    fn what_the_user_says_beats_the_template_and_that_beats_the_image() {
        let env =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let mut template = crate::templates::example::fresh();
        template.spec.known = TemplateSpec {
            env_vars: Some(env(&[("B", "template"), ("C", "template")])),
            memory: Some(2048),
            vcpu: Some(2),
            start_cmd: Some("serve".into()),
            ..TemplateSpec::default()
        };
        let config = ImageConfig {
            env: Some(env(&[("A", "image"), ("B", "image"), ("C", "image")])),
            stop_signal: Some("SIGQUIT".into()),
            ..ImageConfig::default()
        };
        let from = Serving { template, digest: Digest::from_sha256([1; 32]), config };
        let order = Order {
            auto_pause: false,
            template_name: "t".into(),
            vcpu: Some(4),
            memory_mib: None,
            timeout_seconds: 1,
            env: env(&[("C", "user"), ("D", "user")]),
            network_policy: None,
            public_ports: BTreeSet::new(),
        };
        let spec = spec(&from, &order, &Limits::default());
        assert_eq!(spec.env, env(&[("A", "image"), ("B", "template"), ("C", "user"), ("D", "user")]));
        assert_eq!((spec.resources.vcpu, spec.resources.memory_mib), (4, 2048));
        assert_eq!(spec.resources.disk_mib, defaults::DISK_MIB);
        let boot = spec.boot.unwrap();
        assert_eq!(
            (boot.argv.join(" "), boot.stop_signal),
            ("/bin/sh -c serve".into(), Some("SIGQUIT".into()))
        );
        assert_eq!(spec.workdir, "/");
    }

    #[test]
    fn an_inspection_does_not_show_the_environments_values() {
        let shown = present_record(fresh()).to_string();
        assert!(shown.contains("TOKEN") && !shown.contains("secret"));
    }
}
