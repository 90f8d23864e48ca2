//! The server itself, and what only operators ask.

use serde_json::json;
use wire::node::{Capacity, Leak, NodeReport};
use wire::public::operator::{Health, LeakList, NodeList, NodeStatus};

use super::Noun;
use super::examples::{digest, node_id, sandbox_id};
use super::failures::Failure::*;
use super::operation::{Access, Operation, get};

pub fn server() -> Noun {
    Noun {
        tag: "Server",
        text: "What anybody may ask, without a key.",
        operations: vec![alive(), ready(), document(), reference()],
    }
}

pub fn fleet() -> Noun {
    Noun {
        tag: "Fleet",
        text: "What operators ask. These need a key with the scope `operator`.",
        operations: vec![nodes(), leaks(), metrics()],
    }
}

fn alive() -> Operation {
    get("/healthz", "get_health", "Ask whether the server is alive").access(Access::Public).answers(
        200,
        "It is.",
        &Health { ok: true, problems: Vec::new() },
    )
}

fn ready() -> Operation {
    let unready = Health { ok: false, problems: vec!["no node can be reached".into()] };
    get("/readyz", "get_readiness", "Ask whether sandboxes can be made")
        .access(Access::Public)
        .answers(200, "They can.", &Health { ok: true, problems: Vec::new() })
        .answers(503, "They cannot; `problems` says why.", &unready)
}

fn document() -> Operation {
    get("/v1/openapi.json", "get_openapi", "Read this document").access(Access::Public).answers_raw(
        200,
        "OpenAPI 3.1.",
        "application/json",
        |_| json!({ "type": "object" }),
    )
}

fn reference() -> Operation {
    get("/docs", "get_reference", "Read this document as a page")
        .says("One page without scripts that loads nothing else.")
        .access(Access::Public)
        .answers_raw(200, "The page.", "text/html; charset=utf-8", |_| json!({ "type": "string" }))
}

fn nodes() -> Operation {
    let report = NodeReport {
        id: node_id(),
        engine: "gvisor".into(),
        engine_version: "release-20260101.0".into(),
        capacity: Capacity { sandboxes: 1000, vcpu: 64, memory_mib: 15_360 },
        used: Capacity { sandboxes: 1, vcpu: 2, memory_mib: 2048 },
        leaks: [("netns".to_owned(), 0)].into(),
        images: vec![digest()],
    };
    let node = NodeStatus { address: "/run/atoll/node.sock".into(), reachable: true, report: Some(report) };
    get("/v1/nodes", "list_nodes", "List nodes").access(Access::Operator).answers(
        200,
        "Every node of the fleet.",
        &NodeList { items: vec![node] },
    )
}

fn leaks() -> Operation {
    let leak =
        Leak { kind: "netns".into(), name: format!("atoll-{}", sandbox_id()), owner: Some(sandbox_id()) };
    get("/v1/leaks", "list_leaks", "List leaks")
        .says("Resources on the hosts of nodes whose sandbox is gone. The list should be empty. Fails if any node does not answer, for then nobody knows.")
        .access(Access::Operator)
        .answers(200, "All of them.", &LeakList { items: vec![leak] })
        .fails(&[NotFound, BadGateway, Unavailable, TimedOut])
}

fn metrics() -> Operation {
    get("/metrics", "get_metrics", "Read the metrics").access(Access::Operator).answers_raw(
        200,
        "In the Prometheus text format.",
        "text/plain; version=0.0.4",
        |_| json!({ "type": "string" }),
    )
}
