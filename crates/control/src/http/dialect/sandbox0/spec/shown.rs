//! A template's spec as the dialect shows it. Pure.
//!
//! Our own words are the truth. What was sent is shown as it was sent where it still says the same.

use serde_json::{Map, Value, json};
use wire::public::template::TemplateSpec;
use wire::sandbox::defaults;

use super::super::quantity::Quantity;
use super::resources::Resources;
use super::{KEPT, env_vars};
use crate::templates::record::TemplateRecord;

/// The spec of a template that is not ours.
pub fn shown(record: &TemplateRecord) -> Value {
    let known = &record.spec.known;
    let mut spec = object(record.spec.other.get(KEPT));
    show_environment(&mut spec, known);
    let mut container = object(spec.get("mainContainer"));
    container.insert("image".into(), json!(record.image.uri));
    container.insert("resources".into(), resources(object(container.get("resources")), known));
    spec.insert("mainContainer".into(), container.into());
    show_pool(&mut spec, known);
    show_network(&mut spec, known);
    spec.into()
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

fn resources(mut sent: Map<String, Value>, known: &TemplateSpec) -> Value {
    let said = Resources::of(&sent);
    let mut put = |name: &str, is_same: bool, now: Option<Quantity>| match now {
        _ if is_same => {}
        Some(quantity) => drop(sent.insert(name.into(), quantity.to_string().into())),
        None => drop(sent.remove(name)),
    };
    put("cpu", said.vcpu == known.vcpu, known.vcpu.map(Quantity::whole));
    put("ephemeralStorage", said.disk == known.disk, known.disk.map(Quantity::mib));
    // Clients do without anything but this.
    let memory = known.memory.unwrap_or(defaults::MEMORY_MIB);
    put("memory", said.memory == Some(memory), Some(Quantity::mib(memory)));
    sent.into()
}

fn show_environment(spec: &mut Map<String, Value>, known: &TemplateSpec) {
    let now = known.env_vars.clone().unwrap_or_default();
    if env_vars(spec) == now {
        return;
    }
    if let Some(Value::Object(container)) = spec.get_mut("mainContainer") {
        container.remove("env");
    }
    spec.insert("envVars".into(), json!(now));
}

fn show_pool(spec: &mut Map<String, Value>, known: &TemplateSpec) {
    let Some(now) = known.pool else {
        spec.remove("pool");
        return;
    };
    let mut pool = object(spec.get("pool"));
    pool.insert("minIdle".into(), now.min_idle.into());
    pool.insert("maxIdle".into(), now.max_idle.into());
    spec.insert("pool".into(), pool.into());
}

fn show_network(spec: &mut Map<String, Value>, known: &TemplateSpec) {
    match &known.network_policy {
        None => drop(spec.remove("network")),
        Some(_) if spec.contains_key("network") => {}
        Some(policy) => drop(spec.insert("network".into(), json!({ "mode": policy["mode"] }))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::super::fields::Fields;
    use super::*;
    use crate::templates::example::fresh;
    use crate::templates::record::Spec;
    use proptest::prelude::*;

    fn made(spec: &Value) -> TemplateRecord {
        let body = Fields::parse(json!({ "spec": spec }).to_string().as_bytes()).unwrap();
        let wanted = super::super::read(body).unwrap();
        let mut record = fresh();
        record.image.uri = Some(wanted.image);
        record.spec = Spec::default().merged(&wanted.spec).unwrap();
        record
    }

    fn full() -> Value {
        json!({
            "displayName": "It", "description": "d", "tags": ["a"],
            "mainContainer": {
                "image": "r.test/it:v1",
                "resources": {"memory": "1.5Gi", "cpu": "500m", "ephemeralStorage": "8Gi", "gpu": "0"},
                "env": [{"name": "A", "value": "1"}], "securityClass": "privileged", "own": 1,
            },
            "envVars": {"B": "2"}, "ephemeralMounts": [],
            "pool": {"minIdle": 1, "maxIdle": 2, "autoScale": true},
            "network": {"mode": "allow-all", "egress": {}}, "colour": {"is": ["blue"]},
        })
    }

    #[test]
    fn what_is_sent_is_shown_as_it_was_sent() {
        assert_eq!(shown(&made(&full())), full());
    }

    #[test]
    fn what_our_own_api_changed_is_shown_as_it_is_now() {
        let mut record = made(&full());
        let changes = json!({
            "memory": 4096, "vcpu": 3, "disk": null, "env_vars": {"C": "3"}, "pool": null, "network_policy": null,
        });
        record.spec = record.spec.merged(changes.as_object().unwrap()).unwrap();
        record.image.uri = Some("r.test/other".into());
        let expect = json!({
            "displayName": "It", "description": "d", "tags": ["a"],
            "mainContainer": {
                "image": "r.test/other",
                "resources": {"memory": "4Gi", "cpu": "3", "gpu": "0"},
                "securityClass": "privileged", "own": 1,
            },
            "envVars": {"C": "3"}, "ephemeralMounts": [], "colour": {"is": ["blue"]},
        });
        assert_eq!(shown(&record), expect);
    }

    #[test]
    fn a_template_of_our_own_api_has_what_clients_need() {
        let container = json!({"image": "r.test/it:v1", "resources": {"memory": "1Gi"}});
        assert_eq!(shown(&fresh()), json!({ "mainContainer": container }));
    }

    proptest! {
        #[test]
        fn whatever_is_allowed_comes_back(
            memory in 1u32..8192, cpu in prop::option::of(1u32..8000), disk in prop::option::of(0u32..65_536),
            env in prop::option::of(prop::collection::btree_map("[A-Z]{1,3}", "[ -~]{0,5}", 0..4)),
            pool in prop::option::of((0u32..500, 0u32..500)),
        ) {
            let mut spec = json!({"mainContainer": {"image": "a", "resources": {"memory": format!("{memory}Mi")}}});
            if let Some(cpu) = cpu { spec["mainContainer"]["resources"]["cpu"] = json!(format!("{cpu}m")); }
            if let Some(disk) = disk { spec["mainContainer"]["resources"]["ephemeralStorage"] = json!(format!("{disk}Mi")); }
            if let Some(env) = env { spec["envVars"] = json!(env); }
            if let Some((min, more)) = pool { spec["pool"] = json!({"minIdle": min, "maxIdle": min + more}); }
            prop_assert_eq!(shown(&made(&spec)), spec);
        }
    }
}
