//! A template's spec in the dialect, and in our own words.
//!
//! What ours has a word for is kept in that word, so that every API sees and changes the same thing. The rest, and how
//! it was written, is kept beside it as it came: `2Gi` is shown as `2Gi` while it is what our word says.

mod read;
mod resources;
mod shown;

pub use read::read;
pub use shown::shown;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Under what name the spec is kept as it came.
const KEPT: &str = "sandbox0";

/// The environment a spec describes: that of the container, and over it that of all processes.
fn environment(spec: &Map<String, Value>) -> Map<String, Value> {
    let container = spec.get("mainContainer").and_then(|container| container["env"].as_array());
    let pairs = container.into_iter().flatten().filter_map(|item| {
        let value = item.get("value").cloned().unwrap_or_else(|| "".into());
        Some((item["name"].as_str()?.to_owned(), value))
    });
    let mut merged: Map<_, _> = pairs.collect();
    if let Some(Value::Object(vars)) = spec.get("envVars") {
        merged.extend(vars.clone());
    }
    merged
}

/// The same, as it is kept.
fn env_vars(spec: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: Value| value.as_str().map(str::to_owned).unwrap_or_default();
    environment(spec).into_iter().map(|(name, value)| (name, text(value))).collect()
}
