//! A spec that somebody sends, checked field by field.

use serde_json::{Map, Value, json};
use wire::image::ImageSource;
use wire::public::template::limits;

use super::super::super::super::fields::Fields;
use super::super::envelope::Refusal;
use super::resources::{self, Resources};
use super::{KEPT, env_vars, environment};

/// What a platform's operators say of templates, and nobody else.
const OF_OPERATORS: [&str; 2] = ["pod", "clusterId"];

/// The same of a container.
const OF_OPERATORS_IN_CONTAINER: [&str; 2] = ["securityContext", "imagePullPolicy"];

/// What templates had once.
const GONE: [&str; 3] = ["lifecycle", "public", "allowedTeams"];

/// What sandboxes cannot have yet.
const NOT_YET: [&str; 4] = ["ephemeralMounts", "volumeMounts", "sidecars", "sharedVolumes"];

/// Processes are as privileged as their sandbox lets them be, here as there.
const SECURITY_CLASS: &str = "privileged";

/// A template somebody wants.
#[derive(Debug)]
pub struct Wanted {
    /// Its image, as it was given.
    pub image: String,
    /// Every field of our own spec that the dialect has a word for; `null` where it was not said.
    pub spec: Map<String, Value>,
}

/// The spec in a body, from which everything else was taken.
pub fn read(mut body: Fields) -> Result<Wanted, Refusal> {
    let raw = match body.take("spec") {
        Some(Value::Object(mut spec)) => {
            spec.values_mut().for_each(drop_nulls);
            spec.retain(|_, value| !value.is_null());
            spec
        }
        _ => {
            body.wrong("spec", "is required, and must be an object");
            Map::new()
        }
    };
    let mut fields = Fields::of(raw.clone());
    let mut beyond = Vec::new();
    let is_there = !raw.is_empty();
    let image = is_there.then(|| check(&mut fields, &raw, &mut beyond)).flatten();
    body.absorb("spec", fields);
    body.finish()?;
    if !beyond.is_empty() {
        return Err(Refusal::Forbidden(beyond.join("; ")));
    }
    Ok(Wanted { image: image.unwrap_or_default(), spec: ours(raw) })
}

/// `null` is the same as absent.
fn drop_nulls(value: &mut Value) {
    if let Value::Object(object) = value {
        object.values_mut().for_each(drop_nulls);
        object.retain(|_, value| !value.is_null());
    }
}

/// Every field; the image.
fn check(fields: &mut Fields, raw: &Map<String, Value>, beyond: &mut Vec<String>) -> Option<String> {
    for name in ["displayName", "description"] {
        fields.string(name);
    }
    fields.strings("tags");
    let image = main_container(fields, beyond);
    env_of_processes(fields, raw);
    pool(fields);
    network(fields);
    for name in GONE.into_iter().filter(|name| raw.contains_key(*name)) {
        fields.wrong(name, "is no field of a template's spec any more");
    }
    not_yet(fields, &NOT_YET);
    of_operators(fields, "spec", &OF_OPERATORS, beyond);
    image
}

fn main_container(fields: &mut Fields, beyond: &mut Vec<String>) -> Option<String> {
    if !fields.has("mainContainer") {
        fields.wrong("mainContainer", "is required");
    }
    let mut container = fields.object("mainContainer")?;
    let image = image(&mut container);
    let mut resources = container.object("resources").unwrap_or_else(|| Fields::of(Map::new()));
    resources::read(&mut resources, beyond);
    container.absorb("resources", resources);
    env_of_container(&mut container);
    let class = container.string("securityClass");
    if class.is_some_and(|class| class != SECURITY_CLASS) {
        container.wrong("securityClass", format!("must be {SECURITY_CLASS:?}"));
    }
    of_operators(&mut container, "spec.mainContainer", &OF_OPERATORS_IN_CONTAINER, beyond);
    fields.absorb("mainContainer", container);
    image
}

fn image(container: &mut Fields) -> Option<String> {
    if !container.has("image") {
        container.wrong("image", "is required");
    }
    let image = container.string("image")?;
    if let Err(error) = image.parse::<ImageSource>() {
        container.wrong("image", error.to_string());
    }
    Some(image)
}

/// The form alone: names and sizes are looked at when both environments are one.
fn env_of_container(container: &mut Fields) {
    if !container.has("env") {
        return;
    }
    let Some(items) = container.objects("env", 0..=wire::sandbox::limits::ENV_VARS_MAX) else { return };
    for (index, mut item) in items.into_iter().enumerate() {
        if !item.has("name") {
            item.wrong("name", "is required");
        }
        item.string("name");
        item.string("value");
        not_yet(&mut item, &["valueFrom"]);
        container.absorb(&format!("env.{index}"), item);
    }
}

fn env_of_processes(fields: &mut Fields, raw: &Map<String, Value>) {
    let is_object = raw.get("envVars").is_none_or(Value::is_object);
    let merged = if is_object { environment(raw).into() } else { Value::Bool(false) };
    let mut both = Fields::of(Map::from_iter([("envVars".to_owned(), merged)]));
    both.environment("envVars");
    fields.take("envVars");
    fields.adopt(both);
}

fn pool(fields: &mut Fields) {
    let Some(mut pool) = fields.object("pool") else { return };
    for name in ["minIdle", "maxIdle"] {
        if !pool.has(name) {
            pool.wrong(name, "is required");
        }
    }
    let min = pool.integer("minIdle", limits::POOL);
    let max = pool.integer("maxIdle", limits::POOL);
    if min.zip(max).is_some_and(|(min, max)| max < min) {
        pool.wrong("maxIdle", "must not be less than minIdle");
    }
    fields.absorb("pool", pool);
}

/// Only the policy that forbids nothing, and no rule that would mean more.
fn network(fields: &mut Fields) {
    let Some(mut policy) = fields.object("network") else { return };
    match policy.string("mode").as_deref() {
        Some("allow-all") => {}
        Some("block-all") => {
            policy.wrong("mode", "\"block-all\" is not supported yet; only \"allow-all\" is");
        }
        _ => policy.wrong("mode", "must be \"allow-all\" or \"block-all\""),
    }
    if let Some(mut egress) = policy.object("egress") {
        let rules = egress.left();
        not_yet(&mut egress, &rules.iter().map(String::as_str).collect::<Vec<_>>());
        policy.absorb("egress", egress);
    }
    not_yet(&mut policy, &["credentialBindings"]);
    fields.absorb("network", policy);
}

/// What is there without anything in it asks for nothing.
fn not_yet(fields: &mut Fields, names: &[&str]) {
    let is_empty = |value: &Value| match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    };
    for name in names {
        if fields.take(name).is_some_and(|value| !is_empty(&value)) {
            fields.wrong(*name, "is not supported yet; leave it out or send it empty");
        }
    }
}

fn of_operators(fields: &mut Fields, place: &str, names: &[&str], beyond: &mut Vec<String>) {
    for name in names.iter().filter(|name| fields.has(name)) {
        beyond.push(format!("{place}.{name} is for the platform's operators to say"));
    }
}

/// A spec that was found to be right, in our own words and as it came.
fn ours(raw: Map<String, Value>) -> Map<String, Value> {
    let resources = &raw.get("mainContainer").map_or(&Value::Null, |container| &container["resources"]);
    let Resources { vcpu, memory, disk } = resources.as_object().map(Resources::of).unwrap_or_default();
    let has_env =
        raw.contains_key("envVars") || raw.get("mainContainer").is_some_and(|it| it["env"].is_array());
    let pool = raw.get("pool").map(|it| json!({ "min_idle": it["minIdle"], "max_idle": it["maxIdle"] }));
    let policy = raw.get("network").map(|policy| json!({ "mode": policy["mode"] }));
    Map::from_iter([
        ("vcpu".to_owned(), json!(vcpu)),
        ("memory".to_owned(), json!(memory)),
        ("disk".to_owned(), json!(disk)),
        ("env_vars".to_owned(), json!(has_env.then(|| env_vars(&raw)))),
        ("pool".to_owned(), json!(pool)),
        ("network_policy".to_owned(), json!(policy)),
        (KEPT.to_owned(), Value::Object(raw)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn spec(more: Value) -> Value {
        let resources = json!({"memory": "2Gi"});
        let mut spec = json!({"mainContainer": {"image": "r.test/it:v1", "resources": resources}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    }

    fn container(more: Value) -> Value {
        let mut spec = spec(json!({}));
        spec["mainContainer"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    }

    fn sent(spec: &Value) -> Result<Wanted, Refusal> {
        read(Fields::parse(json!({ "spec": spec }).to_string().as_bytes()).unwrap())
    }

    fn check(spec: Value, expect: &[&str]) {
        let wrong: Vec<String> = match sent(&spec) {
            Err(Refusal::Known(Error::Fields(errors))) => {
                errors.into_iter().map(|error| error.field).collect()
            }
            Err(other) => panic!("{spec}: {other:?}"),
            Ok(_) => Vec::new(),
        };
        assert_eq!(wrong, expect, "{spec}");
    }

    fn check_forbidden(spec: Value, field: &str) {
        match sent(&spec) {
            Err(Refusal::Forbidden(message)) => assert!(message.contains(field), "{message}"),
            other => panic!("{spec}: {other:?}"),
        }
    }

    #[test]
    fn what_must_be_there_is_named_when_it_is_not() {
        check(json!(null), &["spec"]);
        check(json!([]), &["spec"]);
        check(json!({"tags": []}), &["spec.mainContainer"]);
        let all = ["spec.mainContainer.image", "spec.mainContainer.resources.memory"];
        check(json!({"mainContainer": {}}), &all);
        check(spec(json!({})), &[]);
        check(spec(json!({"description": null, "network": null, "pool": null})), &[]);
    }

    #[test]
    fn every_rule_of_the_table_is_kept() {
        let memory = |text: &str| container(json!({"resources": {"memory": text}}));
        for text in ["0", "-1Gi", "lots", ""] {
            check(memory(text), &["spec.mainContainer.resources.memory"]);
        }
        check(container(json!({"image": ""})), &["spec.mainContainer.image"]);
        let more = |name: &str, text: &str| container(json!({"resources": {"memory": "1Gi", name: text}}));
        check(more("ephemeralStorage", "-1"), &["spec.mainContainer.resources.ephemeralStorage"]);
        check(more("cpu", "0"), &["spec.mainContainer.resources.cpu"]);
        check(more("cpu", "0.5"), &[]);
        check(
            spec(json!({"pool": {"minIdle": -1, "maxIdle": -1}})),
            &["spec.pool.minIdle", "spec.pool.maxIdle"],
        );
        check(spec(json!({"pool": {"minIdle": 2, "maxIdle": 1}})), &["spec.pool.maxIdle"]);
        check(spec(json!({"pool": {"minIdle": 2}})), &["spec.pool.maxIdle"]);
        check(spec(json!({"network": {"mode": "open"}})), &["spec.network.mode"]);
        check(spec(json!({"network": {}})), &["spec.network.mode"]);
        for name in GONE {
            check(spec(json!({ name: {} })), &[&format!("spec.{name}")]);
        }
        check(container(json!({"securityClass": "privileged"})), &[]);
        check(container(json!({"securityClass": "baseline"})), &["spec.mainContainer.securityClass"]);
    }

    #[test]
    fn what_cannot_be_kept_is_refused_by_name_and_empty_asks_for_nothing() {
        check(spec(json!({"network": {"mode": "block-all"}})), &["spec.network.mode"]);
        let rules =
            json!({"mode": "allow-all", "egress": {"deniedCidrs": ["10.0.0.0/8"], "allowedDomains": []}});
        check(spec(json!({ "network": rules })), &["spec.network.egress.deniedCidrs"]);
        for name in NOT_YET {
            check(spec(json!({ name: [] })), &[]);
            check(spec(json!({ name: [{}] })), &[&format!("spec.{name}")]);
        }
    }

    #[test]
    fn environments_are_checked_as_one() {
        check(container(json!({"env": [{"name": "A", "value": "b"}, {"name": "B"}]})), &[]);
        check(container(json!({"env": [{"value": "b"}]})), &["spec.mainContainer.env.0.name"]);
        check(container(json!({"env": {}})), &["spec.mainContainer.env"]);
        check(container(json!({"env": [{"name": "A=B"}]})), &["spec.envVars.A=B"]);
        check(spec(json!({"envVars": {"A": 1}})), &["spec.envVars.A"]);
        check(spec(json!({"envVars": []})), &["spec.envVars"]);
    }

    #[test]
    fn more_than_there_is_and_what_operators_say_is_forbidden() {
        check_forbidden(container(json!({"resources": {"memory": "8193Mi"}})), "resources.memory");
        check_forbidden(container(json!({"resources": {"memory": "1Gi", "cpu": "9"}})), "resources.cpu");
        for name in OF_OPERATORS {
            check_forbidden(spec(json!({ name: {} })), name);
        }
        for name in OF_OPERATORS_IN_CONTAINER {
            check_forbidden(container(json!({ name: "x" })), name);
        }
    }

    #[test]
    fn a_spec_becomes_ours_and_is_kept_as_it_came() {
        let given = json!({
            "mainContainer": {
                "image": "r.test/it:v1",
                "resources": {"memory": "1.5Gi", "cpu": "2", "ephemeralStorage": "8Gi"},
                "env": [{"name": "A", "value": "container"}, {"name": "B", "value": "container"}],
            },
            "envVars": {"B": "all"},
            "pool": {"minIdle": 1, "maxIdle": 2, "autoScale": true},
            "network": {"mode": "allow-all", "egress": {}},
            "colour": "blue",
        });
        let Wanted { image, spec } = sent(&given).unwrap();
        assert_eq!(image, "r.test/it:v1");
        let expect = json!({
            "vcpu": 2, "memory": 1536, "disk": 8192,
            "env_vars": {"A": "container", "B": "all"},
            "pool": {"min_idle": 1, "max_idle": 2},
            "network_policy": {"mode": "allow-all"},
            "sandbox0": given,
        });
        assert_eq!(Value::Object(spec), expect);
    }
}
