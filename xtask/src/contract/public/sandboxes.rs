//! Sandboxes: made, listed, looked at, deleted.

use std::collections::BTreeMap;

use serde_json::json;
use wire::public::sandbox::{
    ChangeTimeout, CreateSandbox, Sandbox, SandboxInspection, SandboxList, SandboxListItem, SandboxMade,
    UserHomeDir, Workdir,
};
use wire::public::schema::{
    IdempotencyKey, ListedState, OrderBy, Page, PageSize, SandboxSort, TemplateFilter,
};
use wire::sandbox::{State, defaults};

use super::Noun;
use super::examples::{CREATED_AT, TIMEOUT_AT, node_id, sandbox_id, template_id};
use super::failures::Failure::*;
use super::failures::INSIDE;
use super::operation::{Access, Operation, delete, get, post};

pub fn noun() -> Noun {
    Noun {
        tag: "Sandboxes",
        text: "A sandbox is a machine of its own, made from a template in milliseconds, and gone when its time is up.",
        operations: vec![
            create(),
            list(),
            read(),
            change_timeout(),
            pause(),
            user_home_dir(),
            workdir(),
            remove(),
            inspect(),
        ],
    }
}

/// An operation on one sandbox.
pub fn of_one(operation: Operation) -> Operation {
    operation.in_path("sandbox_id", "The sandbox.", &sandbox_id())
}

fn create() -> Operation {
    post("/v1/sandbox", "create_sandbox", "Make a sandbox")
        .says("Answers when it runs: a command can be executed in it at once. What is not given is as the template says, or else has the default. Where the template's image is still on its way, the answer waits for it, for a while.")
        .says("With `run`, a command is: the answer comes when it has ended, and `executed` is what came of it, as an item of a batch. A command that does not start does not undo the sandbox. A command that takes long is answered with `201` and spaces, as by `execute`.")
        .in_header::<IdempotencyKey>(
            "Idempotency-Key",
            "Makes requests with the same value, within a day, one request: the second is answered with the sandbox of the first. It does not `run` anything again, and has no `executed`.",
        )
        .may_take(&CreateSandbox {
            template_name: Some(defaults::TEMPLATE.into()),
            vcpu: Some(2),
            memory: Some(2048),
            timeout: Some(600),
            env_vars: Some(BTreeMap::from([("LANG".into(), "C.UTF-8".into())])),
            ..CreateSandbox::default()
        })
        .says("When the disk of the server is nearly full, it is refused at once with `507`, `storage_full` and `Retry-After`.")
        .answers(201, "It runs.", &SandboxMade { sandbox: sandbox(), executed: None })
        .fails(&[NotFound, Conflict, Unprocessable, BadGateway, Unavailable, TimedOut])
}

pub fn sandbox() -> Sandbox {
    Sandbox {
        id: sandbox_id(),
        template_id: template_id(),
        state: State::Running,
        vcpu: 2,
        memory: 2048,
        disk: defaults::DISK_MIB,
        timeout: 600,
        auto_pause: false,
        created_at: CREATED_AT.into(),
        timeout_at: Some(TIMEOUT_AT),
        network_policy: None,
        mounts: Vec::new(),
        public_ports: Vec::new(),
        reason: None,
        reason_detail: None,
    }
}

fn list() -> Operation {
    let item = SandboxListItem {
        id: sandbox_id(),
        template_id: template_id(),
        pod_id: node_id(),
        state: State::Running,
        launch_time: Some(CREATED_AT.into()),
        state_change_time: Some(CREATED_AT.into()),
        timeout_at: Some(TIMEOUT_AT),
        created_at: CREATED_AT.into(),
    };
    get("/v1/sandboxes", "list_sandboxes", "List sandboxes")
        .says("Those of the key's team that are not gone.")
        .in_query::<ListedState>("state", "Only those in this state.")
        .in_query::<TemplateFilter>("template", "Only those made from the template of this name or id.")
        .in_query::<SandboxSort>("sort", "What to sort by.")
        .in_query::<OrderBy>("order-by", "Which end comes first.")
        .in_query::<Page>("page", "Which page, from 1.")
        .in_query::<PageSize>("page-size", "How many on a page.")
        .answers(200, "A page of them.", &SandboxList { items: vec![item], total_items: 1 })
}

fn read() -> Operation {
    of_one(get("/v1/sandbox/{sandbox_id}", "get_sandbox", "Look at a sandbox"))
        .says("One that is gone can be looked at for an hour: its state is `deleted`, and `reason` says why.")
        .answers(200, "What it is.", &sandbox())
        .fails(&[NotFound])
}

fn change_timeout() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/timeout", "change_sandbox_timeout", "Change when a sandbox ends"))
        .says("Exactly one of `timeout`, seconds from now, and `extend`, seconds later than planned. More than 28800 s from now is refused either way. Nothing else changes when a sandbox ends: not commands in it, nor requests to it.")
        .says("One that is paused stays so. Its time begins when it wakes, and both are of that: `timeout` is all it will have, and `extend` is added.")
        .says("To be retried, send `timeout`: it is as good twice as once. A retried `extend` extends twice. After a failure other than `404` the change may have been made, or may be a little later: look at `timeout_at`.")
        .says("Answers when the change outlives a restart of any part of the server. A sandbox whose time is up meanwhile is gone, and the answer says so.")
        .takes(&ChangeTimeout { timeout: Some(600), extend: None })
        .answers(200, "It ends then, or is paused.", &sandbox())
        .fails(&[NotFound, Conflict, BadGateway, Unavailable, TimedOut])
}

fn pause() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/pause", "pause_sandbox", "Pause a sandbox"))
        .says("Its memory, its processes and its files are kept, and it takes no compute: it counts for no limit of running sandboxes. Answers when that is durable; a pause that takes long is answered with `201` and spaces, as by `execute`.")
        .says("Any request that needs the inside wakes it: for processes, files or terminals. It is answered as if the sandbox had run, only later; looking at it, listing and deleting do not wake it. A wake for which there is no room is refused with `429` or `503` and `Retry-After`, and the sandbox stays paused. Its time begins anew when it wakes.")
        .says("Requests under way are given a moment to end. Who waits for a command by `execute` or `stream` is answered when it has ended, after the wake; that it is waited for wakes nothing, and has an end. Other requests that still wait, for files, watches and terminals, are cut off with `409`, `sandbox_paused`. Connections to the outside are closed.")
        .answers(201, "It is paused.", &Sandbox { state: State::Paused, timeout_at: None, ..sandbox() })
        .fails(&[NotFound, Conflict, BadGateway, Unavailable, TimedOut])
}

fn user_home_dir() -> Operation {
    let path = "/v1/sandbox/{sandbox_id}/system/user-home-dir";
    of_one(get(path, "get_user_home_dir", "Where the user's home is"))
        .says("What the sandbox's environment says in `HOME`, or else its `/etc/passwd` of the user.")
        .answers(200, "Its path.", &UserHomeDir { user_home_dir: "/home/user".into() })
        .fails(INSIDE)
}

fn workdir() -> Operation {
    of_one(get("/v1/sandbox/{sandbox_id}/system/workdir", "get_workdir", "Where processes start"))
        .says("Relative paths begin there too.")
        .answers(200, "Its path.", &Workdir { workdir: "/workspace".into() })
        .fails(INSIDE)
}

fn remove() -> Operation {
    of_one(delete("/v1/sandbox/{sandbox_id}", "delete_sandbox", "Delete a sandbox"))
        .says("Works in every state, and answers when nothing is left of it.")
        .answers_nothing(204, "It is gone.")
        .fails(&[NotFound, BadGateway, Unavailable, TimedOut])
}

fn inspect() -> Operation {
    let example = SandboxInspection {
        store: json!({ "desired": "running", "observed": "running", "generation": 1 }),
        node: json!({ "state": "running" }),
        engine: json!([]),
        guest: json!({ "processes": 1 }),
    };
    of_one(get("/v1/sandbox/{sandbox_id}/inspect", "inspect_sandbox", "Compare what is known of a sandbox"))
        .access(Access::Keyed)
        .says("What the store, the node, the engine and the guest each say of it, for people. The shapes may change.")
        .answers(200, "Four views.", &example)
        .fails(&[NotFound, BadGateway, Unavailable, TimedOut])
}
