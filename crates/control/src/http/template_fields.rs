//! What a template is told, field by field.

use serde::Serialize;
use serde_json::{Map, Value};
use wire::image::{ImageSource, RegistryCredentials};
use wire::public::template::{PullMode, Visibility, limits};
use wire::sandbox::limits as of_sandboxes;

use super::fields::Fields;
use super::sandboxes::{memory, network_policy};
use crate::error::Result;
use crate::templates::record::Spec;
use crate::templates::{Changes, CredentialsChange, Order, SpecChange};

/// The fields of a spec.
const SPEC: [&str; 9] =
    ["vcpu", "memory", "disk", "env_vars", "start_cmd", "ready_check", "network_policy", "pool", "pull"];

/// What can be tried to see whether a sandbox is up.
const PROBES: [&str; 3] = ["port", "http", "command"];

/// Each type of credentials: its fields, and whether they must be there.
const CREDENTIALS: [(&str, &[(&str, bool)]); 4] = [
    ("basic", &[("username", true), ("password", true)]),
    ("aws", &[("aws_access_key_id", true), ("aws_secret_access_key", true), ("aws_region", false)]),
    ("gcp", &[("gcp_service_account_json", true)]),
    ("azure", &[("azure_client_id", true), ("azure_client_secret", true), ("azure_tenant_id", true)]),
];

/// A template to make.
pub fn order(mut fields: Fields) -> Result<Order> {
    let (has_name, has_uri) = (fields.has("name"), fields.has("uri"));
    let (name, uri) = (name(&mut fields), uri(&mut fields));
    for (field, is_there) in [("name", has_name), ("uri", has_uri)] {
        if !is_there {
            fields.wrong(field, "is required");
        }
    }
    let credentials = credentials(&mut fields);
    let visibility = visibility(&mut fields).unwrap_or_default();
    let spec = spec(&mut fields);
    fields.finish()?;
    Ok(Order {
        name: name.unwrap_or_default(),
        uri: uri.unwrap_or_default(),
        credentials,
        visibility,
        spec: Spec::default().merged(&spec)?,
    })
}

/// What is to be different about a template. `null` takes a field back.
pub fn changes(mut fields: Fields) -> Result<Changes> {
    let forget = fields.is_null("credentials");
    let given = spec(&mut fields);
    let changes = Changes {
        name: name(&mut fields),
        uri: uri(&mut fields),
        credentials: match credentials(&mut fields) {
            Some(given) => CredentialsChange::Set(given),
            None if forget => CredentialsChange::Forget,
            None => CredentialsChange::Keep,
        },
        visibility: visibility(&mut fields),
        spec: if given.is_empty() { SpecChange::Keep } else { SpecChange::Merge(given) },
    };
    fields.finish()?;
    Ok(changes)
}

fn name(fields: &mut Fields) -> Option<String> {
    let name = fields.string("name")?;
    let range = of_sandboxes::TEMPLATE_NAME_CHARS;
    let is_wrong = |character: char| character.is_whitespace() || character.is_control();
    if !range.contains(&name.chars().count()) || name.chars().any(is_wrong) {
        let (least, most) = (range.start(), range.end());
        fields.wrong("name", format!("must be {least} to {most} characters without whitespace"));
    } else if name.starts_with(limits::SYSTEM_PREFIX) {
        fields.wrong("name", format!("must not start with \"{}\"", limits::SYSTEM_PREFIX));
    }
    Some(name)
}

fn uri(fields: &mut Fields) -> Option<String> {
    let uri = fields.string("uri")?;
    if let Err(error) = uri.parse::<ImageSource>() {
        fields.wrong("uri", error.to_string());
    }
    Some(uri)
}

fn visibility(fields: &mut Fields) -> Option<Visibility> {
    word(fields, "visibility", &[("team", Visibility::Team), ("public", Visibility::Public)])
}

/// One of a few words.
fn word<T: Copy>(fields: &mut Fields, name: &str, words: &[(&str, T)]) -> Option<T> {
    let text = fields.string(name)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let known: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        fields.wrong(name, format!("must be {}, not {text:?}", known.join(" or ")));
    }
    found
}

/// The fields of a spec that are there, as they are kept; `null` where they are taken back.
fn spec(fields: &mut Fields) -> Map<String, Value> {
    let nulls = SPEC.into_iter().filter(|name| fields.is_null(name));
    let mut given: Map<_, _> = nulls.map(|name| (name.to_owned(), Value::Null)).collect();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            given.insert(name.to_owned(), value);
        }
    };
    put("vcpu", fields.integer("vcpu", of_sandboxes::VCPU).map(Value::from));
    put("memory", memory(fields).map(Value::from));
    put("disk", fields.integer("disk", of_sandboxes::DISK_MIB).map(Value::from));
    put("env_vars", fields.environment("env_vars").and_then(json));
    put("start_cmd", start_cmd(fields).map(Value::from));
    put("ready_check", inside(fields, "ready_check", ready_check));
    put("network_policy", network_policy(fields));
    put("pool", inside(fields, "pool", pool));
    put("pull", word(fields, "pull", &[("eager", PullMode::Eager), ("lazy", PullMode::Lazy)]).and_then(json));
    given
}

fn json(value: impl Serialize) -> Option<Value> {
    serde_json::to_value(value).ok()
}

/// An object that is read by `read`.
fn inside(fields: &mut Fields, name: &str, read: fn(&mut Fields) -> Value) -> Option<Value> {
    let mut object = fields.object(name)?;
    let value = read(&mut object);
    fields.absorb(name, object);
    Some(value)
}

fn start_cmd(fields: &mut Fields) -> Option<String> {
    let line = fields.string("start_cmd")?;
    check_line(fields, "start_cmd", &line);
    Some(line)
}

/// A command line for the shell, which takes it as one argument.
fn check_line(fields: &mut Fields, name: &str, line: &str) {
    let bytes_max = limits::START_CMD_BYTES_MAX;
    if line.trim().is_empty() || line.contains('\0') || line.len() > bytes_max {
        fields.wrong(name, format!("must be 1 to {bytes_max} bytes without NUL"));
    }
}

fn ready_check(fields: &mut Fields) -> Value {
    let mut check = Map::new();
    let given = PROBES.iter().filter(|probe| fields.has(probe)).count();
    if given != 1 {
        fields.wrong(PROBES[0], format!("exactly one of {} must be there", PROBES.join(", ")));
    }
    if let Some(port) = port(fields) {
        check.insert("port".into(), port.into());
    }
    if let Some(request) = inside(fields, "http", request) {
        check.insert("http".into(), request);
    }
    if let Some(line) = fields.string("command") {
        check_line(fields, "command", &line);
        check.insert("command".into(), line.into());
    }
    let range = of_sandboxes::READY_TIMEOUT_SECONDS;
    let seconds = fields.integer("timeout_seconds", range);
    let seconds = seconds.unwrap_or_else(wire::sandbox::defaults::ready_timeout_seconds);
    check.insert("timeout_seconds".into(), seconds.into());
    Value::Object(check)
}

fn port(fields: &mut Fields) -> Option<u32> {
    fields.integer("port", 1..=u16::MAX.into())
}

fn request(fields: &mut Fields) -> Value {
    if !fields.has("port") {
        fields.wrong("port", "is required");
    }
    let port = port(fields);
    let path = fields.string("path").unwrap_or_else(|| "/".to_owned());
    let is_plain = |byte: u8| byte.is_ascii_graphic();
    if !path.starts_with('/') || !path.bytes().all(is_plain) || path.len() > of_sandboxes::PATH_BYTES_MAX {
        fields.wrong("path", "must be the path of a URL, such as \"/healthz\"");
    }
    serde_json::json!({ "port": port, "path": path })
}

fn pool(fields: &mut Fields) -> Value {
    for name in ["min_idle", "max_idle"] {
        if !fields.has(name) {
            fields.wrong(name, "is required");
        }
    }
    let min_idle = fields.integer("min_idle", limits::POOL);
    let max_idle = fields.integer("max_idle", limits::POOL);
    if min_idle.zip(max_idle).is_some_and(|(min, max)| max < min) {
        fields.wrong("max_idle", "must not be less than min_idle");
    }
    serde_json::json!({ "min_idle": min_idle, "max_idle": max_idle })
}

/// Credentials. What is wrong with them is said without a word of what they are.
fn credentials(fields: &mut Fields) -> Option<RegistryCredentials> {
    let mut object = fields.object("credentials")?;
    let kind = object.string("type").unwrap_or_default();
    let known = CREDENTIALS.iter().find(|(known, _)| *known == kind);
    let credentials = match known {
        Some((kind, secrets)) => of_kind(&mut object, kind, secrets),
        None => {
            let types: Vec<_> = CREDENTIALS.iter().map(|(known, _)| *known).collect();
            object.wrong("type", format!("must be one of {}", types.join(", ")));
            None
        }
    };
    fields.absorb("credentials", object);
    credentials
}

fn of_kind(object: &mut Fields, kind: &str, secrets: &[(&str, bool)]) -> Option<RegistryCredentials> {
    let mut given = Map::from_iter([("type".to_owned(), kind.into())]);
    for (name, is_required) in secrets {
        let is_there = object.has(name);
        let secret = object.string(name);
        if *is_required && !is_there {
            object.wrong(*name, "is required");
        }
        if let Some(secret) = secret {
            check_secret(object, name, &secret);
            given.insert((*name).to_owned(), secret.into());
        }
    }
    for name in object.left() {
        object.wrong(name, format!("is nothing that credentials of type {kind} have"));
    }
    serde_json::from_value(Value::Object(given)).ok()
}

fn check_secret(fields: &mut Fields, name: &str, secret: &str) {
    let bytes_max = limits::SECRET_BYTES_MAX;
    if !(1..=bytes_max).contains(&secret.len()) {
        fields.wrong(name, format!("must be 1 to {bytes_max} bytes"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::json;

    fn wrong<T>(read: impl Fn(Fields) -> Result<T>, json: &Value) -> Vec<String> {
        match read(Fields::parse(json.to_string().as_bytes()).unwrap()) {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            Err(other) => panic!("{json}: {other}"),
            Ok(_) => Vec::new(),
        }
    }

    /// With a name and a uri.
    fn check(more: Value, expect: &[&str]) {
        let mut body = json!({"name": "mine", "uri": "python:3.12"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(wrong(order, &body), expect, "{body}");
    }

    #[test]
    fn names_and_sources_are_the_contracts() {
        assert_eq!(wrong(order, &json!({})), ["name", "uri"]);
        check(json!({}), &[]);
        for name in ["", "a b", "a\u{a0}b", "system/x", &"x".repeat(65), "a\u{7}"] {
            check(json!({"name": name}), &["name"]);
        }
        check(json!({"name": "ü".repeat(64)}), &[]);
        check(json!({"name": "a/b:c"}), &[]);
        for uri in ["", "http://x/y", "A B", &"x".repeat(501), "oci:relative"] {
            check(json!({"uri": uri}), &["uri"]);
        }
        check(json!({"uri": "oci:/images/it:v1"}), &[]);
    }

    #[test]
    fn a_spec_is_bounded_field_by_field() {
        check(json!({"vcpu": 8, "memory": 8192, "disk": 65_536, "env_vars": {"A": "b"}}), &[]);
        check(
            json!({"vcpu": 9, "memory": 511, "disk": 1, "env_vars": []}),
            &["vcpu", "memory", "disk", "env_vars"],
        );
        check(json!({"start_cmd": " "}), &["start_cmd"]);
        check(json!({"network_policy": {"mode": "deny-all"}}), &["network_policy.mode"]);
        check(json!({"visibility": "all", "pull": "now"}), &["visibility", "pull"]);
        check(json!({"pool": {"min_idle": 1, "max_idle": 3}}), &[]);
        check(json!({"pool": {"min_idle": 3, "max_idle": 1}}), &["pool.max_idle"]);
        check(json!({"pool": {}}), &["pool.min_idle", "pool.max_idle"]);
        check(json!({"pool": {"min_idle": -1, "max_idle": 1001}}), &["pool.min_idle", "pool.max_idle"]);
    }

    #[test]
    fn a_ready_check_tries_exactly_one_thing() {
        check(json!({"ready_check": {"port": 80, "timeout_seconds": 600}}), &[]);
        check(json!({"ready_check": {"http": {"port": 80, "path": "/ok"}}}), &[]);
        check(json!({"ready_check": {"command": "true"}}), &[]);
        check(json!({"ready_check": {}}), &["ready_check.port"]);
        check(json!({"ready_check": {"port": 80, "command": "true"}}), &["ready_check.port"]);
        check(
            json!({"ready_check": {"port": 0, "timeout_seconds": 601}}),
            &["ready_check.port", "ready_check.timeout_seconds"],
        );
        check(
            json!({"ready_check": {"http": {"path": "x y"}}}),
            &["ready_check.http.port", "ready_check.http.path"],
        );
    }

    #[test]
    fn credentials_have_the_fields_of_their_type_and_no_others() {
        let aws = json!({"type": "aws", "aws_access_key_id": "a", "aws_secret_access_key": "b"});
        check(json!({"credentials": aws}), &[]);
        check(json!({"credentials": {"type": "gcp", "gcp_service_account_json": "{}"}}), &[]);
        check(json!({"credentials": {"type": "magic"}}), &["credentials.type"]);
        check(json!({"credentials": {}}), &["credentials.type"]);
        check(
            json!({"credentials": {"type": "basic", "username": "", "token": "s3cret"}}),
            &["credentials.username", "credentials.password", "credentials.token"],
        );
        check(
            json!({"credentials": {"type": "azure", "azure_client_id": 1}}),
            &[
                "credentials.azure_client_id",
                "credentials.azure_client_secret",
                "credentials.azure_tenant_id",
            ],
        );
    }

    #[test]
    fn null_takes_back_in_a_change_and_is_absent_in_an_order() {
        let body = json!({"vcpu": null, "memory": 512, "credentials": null});
        let changes = changes(Fields::parse(body.to_string().as_bytes()).unwrap()).unwrap();
        let SpecChange::Merge(spec) = changes.spec else { panic!("nothing changes") };
        assert_eq!(Value::Object(spec), json!({"vcpu": null, "memory": 512}));
        assert!(matches!(changes.credentials, CredentialsChange::Forget));
        check(json!({"vcpu": null, "credentials": null}), &[]);
    }
}
