//! Templates: what sandboxes are made from.

use wire::node::{BuildEvent, BuildProgress, BuiltImage};
use wire::public::template::{BuildSystemTemplate, Template, TemplateList};
use wire::sandbox::defaults;

use super::Noun;
use super::examples::{CREATED_AT, digest, image_config, template_id};
use super::failures::Failure::*;
use super::operation::{Access, Operation, get, post};

pub fn noun() -> Noun {
    Noun {
        tag: "Templates",
        text: "A template says what a sandbox is made of: an image, and how its processes run.",
        operations: vec![list(), read(), build_system()],
    }
}

fn template() -> Template {
    Template {
        id: template_id(),
        name: defaults::TEMPLATE.into(),
        digest: digest(),
        image_config: image_config(),
        is_system: true,
        created_at: CREATED_AT.into(),
    }
}

fn list() -> Operation {
    get("/v1/templates", "list_templates", "List templates")
        .says("All that the key's team may use, by name.")
        .answers(200, "All of them.", &TemplateList { items: vec![template()], total_items: 1 })
}

fn read() -> Operation {
    get("/v1/template/{template_id}", "get_template", "Look at a template")
        .in_path("template_id", "The template.", &template_id())
        .answers(200, "What it is.", &template())
        .fails(&[NotFound])
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
