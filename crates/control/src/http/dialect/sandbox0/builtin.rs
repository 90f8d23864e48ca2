//! `default`: the template that is there without anybody having made it, which is our own system template. An
//! operator's public template of that name takes its place, and a team's own comes before either.

use serde_json::{Value, json};
use wire::sandbox::defaults;

/// Its id.
pub const ID: &str = "default";

/// The template it is.
pub const TEMPLATE: &str = defaults::TEMPLATE;

/// Its spec.
pub fn spec() -> Value {
    json!({
        "displayName": "Debian 12",
        "mainContainer": { "image": TEMPLATE, "resources": { "memory": "2Gi" } },
        "pool": { "minIdle": POOL.0, "maxIdle": POOL.1 },
        "network": { "mode": "allow-all" },
    })
}

/// How many of its sandboxes are to be kept ready, at least and at most.
pub const POOL: (u32, u32) = (1, 5);
