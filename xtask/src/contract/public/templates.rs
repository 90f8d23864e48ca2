//! Templates: what sandboxes are made from.

use wire::image::RegistryCredentials;
use wire::node::{
    BuildEvent, BuildProgress, BuiltImage, Pruned, PrunedItem, PrunedKind, PullPhase, PullProgress,
};
use wire::public::template::{
    BuildSystemTemplate, CreateTemplate, CredentialsKind, PatchTemplate, PruneTemplates, Template,
    TemplateList, TemplateSpec, TemplateState, Visibility,
};
use wire::sandbox::{HttpProbe, Probe, ReadyCheck, defaults};

use super::Noun;
use super::examples::{CREATED_AT, digest, image_config, template_id};
use super::failures::Failure::*;
use super::operation::{Access, Operation, delete, get, patch, post};

/// Where the example's image comes from.
const URI: &str = "registry.example.com/org/app:latest";

pub fn noun() -> Noun {
    Noun {
        tag: "Templates",
        text: "A template says what a sandbox is made of: an image, what starts in it, and what sandboxes get where their makers say nothing else.",
        operations: vec![create(), list(), read(), change(), remove(), build_system(), prune()],
    }
}

fn template() -> Template {
    Template {
        id: template_id(),
        name: "python-app".into(),
        digest: digest(),
        image_config: image_config(),
        is_system: false,
        created_at: CREATED_AT.into(),
        updated_at: CREATED_AT.into(),
        version: 1,
        visibility: Visibility::Team,
        uri: Some(URI.into()),
        credentials: Some(CredentialsKind { kind: "basic".into() }),
        state: TemplateState::Pulling,
        progress: Some(PullProgress {
            phase: PullPhase::Fetching,
            bytes_done: 25_165_824,
            bytes_total: 52_428_800,
        }),
        failure: None,
        serving: None,
        spec: spec(),
    }
}

fn spec() -> TemplateSpec {
    let probe = Probe::Http(HttpProbe { port: 8080, path: "/healthz".into() });
    TemplateSpec {
        vcpu: Some(2),
        memory: Some(2048),
        start_cmd: Some("python3 -m app".into()),
        ready_check: Some(ReadyCheck { probe, timeout_seconds: 60 }),
        ..TemplateSpec::default()
    }
}

fn of_one(operation: Operation) -> Operation {
    operation.in_path("template_id", "The template.", &template_id())
}

fn create() -> Operation {
    let order = CreateTemplate {
        name: "python-app".into(),
        uri: URI.into(),
        credentials: Some(RegistryCredentials::Basic { username: "me".into(), password: "…".into() }),
        visibility: None,
        spec: spec(),
    };
    post("/v1/template", "create_template", "Make a template")
        .says("Answers when the image's manifest and configuration are here and verified. Its layers come behind the answer: `state` and `progress` say how far they are. A sandbox that is asked for meanwhile waits.")
        .says("With `pull` as `lazy`, layers come with the first sandbox.")
        .takes(&order)
        .answers(201, "It is made.", &template())
        .fails(&[Conflict, BadGateway, Unavailable, TimedOut])
}

fn list() -> Operation {
    get("/v1/templates", "list_templates", "List templates")
        .says("All that the key's team may use, by name. Of several with one name, the team's own is meant, or else the public one.")
        .answers(200, "All of them.", &TemplateList { items: vec![template()], total_items: 1 })
}

fn read() -> Operation {
    of_one(get("/v1/template/{template_id}", "get_template", "Look at a template"))
        .answers(200, "What it is.", &template())
        .fails(&[NotFound])
}

fn change() -> Operation {
    let order = PatchTemplate {
        name: Some("python-app-v2".into()),
        spec: TemplateSpec { memory: Some(4096), ..TemplateSpec::default() },
        ..PatchTemplate::default()
    };
    of_one(patch("/v1/template/{template_id}", "change_template", "Change a template"))
        .says("What is not given stays as it is; what is `null` is as if it had never been given. A change of what sandboxes get is a new `version`, for new sandboxes alone: those that are there keep what they have.")
        .says("Another `uri`, or the same to look at it again, is answered when its manifest and configuration are verified; if they cannot be had, nothing changes. Until its layers are here, sandboxes are made from the image before, which is then in `serving`. Credentials go to no registry but the one they were given for: a `uri` of another needs its own, or `null`.")
        .may_take(&order)
        .answers_nothing(204, "It is changed.")
        .fails(&[NotFound, Conflict, BadGateway, Unavailable, TimedOut])
}

fn remove() -> Operation {
    of_one(delete("/v1/template/{template_id}", "delete_template", "Delete a template"))
        .says("No sandbox starts from it any more. Those that did go on; the image goes some time after the last of them.")
        .answers_nothing(204, "It is gone.")
        .fails(&[NotFound, Conflict])
}

fn build_system() -> Operation {
    let built =
        BuiltImage { digest: digest(), size_bytes: 134_217_728, config: image_config(), built_now: true };
    let progress = BuildEvent::Progress(BuildProgress { message: "retrieving base-files".into() });
    post("/v1/template/system", "build_system_template", "Build a system template")
        .says("Makes one of the templates that come as recipes, or finds it made. The answer is a JSON line for each thing that happens; the last is `done` or `failed`, and without either of them it is not known how the build ended.")
        .access(Access::Operator)
        .takes(&BuildSystemTemplate { name: defaults::TEMPLATE.into(), locked: None })
        .answers_lines("How it goes.", &[progress, BuildEvent::Done(built)])
        .fails(&[NotFound, BadGateway, Unavailable, TimedOut])
}

fn prune() -> Operation {
    let item = PrunedItem {
        kind: PrunedKind::Image,
        name: digest().to_string(),
        bytes: 134_217_728,
        reason: "no template, sandbox or pull needs it".into(),
    };
    post("/v1/templates/prune", "prune_templates", "Remove images nobody needs")
        .says("Those of no template and no sandbox, that were not used for a while, and layers of no image that is left. It is done now and then anyway. With `dry_run`, nothing goes, and the answer is what would.")
        .access(Access::Operator)
        .may_take(&PruneTemplates { dry_run: Some(true), idle_seconds: None })
        .answers(200, "What went, or would go.", &Pruned { bytes: item.bytes, items: vec![item] })
        .fails(&[NotFound, BadGateway, Unavailable, TimedOut])
}
