//! `/v1/sandbox` and `/v1/sandboxes`.

use std::future::Future;

use axum::Json;
use axum::extract::{Extension, RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use wire::public::limits::IDEMPOTENCY_KEY_CHARS_MAX;
use wire::public::sandbox::{
    LISTED_STATES, Sandbox, SandboxInspection, SandboxList, SandboxMade, UserHomeDir, Workdir,
};
use wire::sandbox::{defaults, limits};

use super::App;
use super::body::json_fields;
use super::extract::InSandbox;
use super::fields::Fields;
use super::patience::patiently;
use super::processes::to_run;
use super::public_ports::ports;
use super::query::Query;
use crate::deadlines::{self, Change};
use crate::directories;
use crate::error::{Error, Result};
use crate::keys::Scope;
use crate::pauses;
use crate::processes;
use crate::sandboxes::{self, Made, Order};
use crate::store::{Caller, CreateKey, Page, Sort};

/// Makes requests with the same value one request.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// `POST /v1/sandbox`: answers when it runs, and when the command it was made for has ended.
///
/// Of requests with one `Idempotency-Key`, only the one that makes the sandbox runs the command: once at most.
pub async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response> {
    let mut fields = json_fields(&app, request).await?;
    let body = fields.canonical();
    let key = idempotency_key(&mut fields, &headers, &body);
    let order = order(&mut fields);
    let run = to_run_at_once(&mut fields);
    fields.finish()?;
    let (fleet, team) = (app.clone(), caller.team.clone());
    let create = async move { sandboxes::create(&fleet, &team, order, key).await };
    let Made { sandbox, is_new } = to_the_end(create).await?;
    let Some(run) = run.filter(|_| is_new) else {
        return Ok((StatusCode::CREATED, Json(sandbox)).into_response());
    };
    let keep_alive = app.limits.keep_alive;
    let ran = async move {
        let executed = Some(processes::ran(&app, &caller.team, &sandbox.id, &run).await);
        Ok(SandboxMade { sandbox, executed })
    };
    patiently(StatusCode::CREATED, keep_alive, ran).await
}

fn to_run_at_once(fields: &mut Fields) -> Option<processes::Order> {
    let mut run = fields.object("run")?;
    let order = to_run(&mut run);
    fields.absorb("run", run);
    Some(order)
}

/// Runs something to its end even if the client hangs up: half of it would be found by nobody.
pub async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    use tracing::Instrument;
    let task = tokio::spawn(work.in_current_span());
    task.await.map_err(|error| Error::internal("the work on this request did not end", error))?
}

pub fn idempotency_key(fields: &mut Fields, headers: &HeaderMap, body: &str) -> Option<CreateKey> {
    let value = headers.get(IDEMPOTENCY_KEY)?;
    match value.to_str() {
        Ok(key)
            if (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len())
                && key.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            let body_hash = hex::encode(Sha256::digest(body.as_bytes()));
            Some(CreateKey { key: key.to_owned(), body_hash })
        }
        _ => {
            let wanted = format!("must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters");
            fields.wrong("Idempotency-Key", wanted);
            None
        }
    }
}

fn order(fields: &mut Fields) -> Order {
    let order = Order {
        template_name: template_name(fields),
        vcpu: fields.integer("vcpu", limits::VCPU),
        memory_mib: memory(fields),
        timeout_seconds: fields
            .integer("timeout", limits::TIMEOUT_SECONDS)
            .unwrap_or(defaults::TIMEOUT_SECONDS),
        auto_pause: fields.boolean("auto_pause").unwrap_or(false),
        env: fields.environment("env_vars").unwrap_or_default(),
        network_policy: network_policy(fields),
        public_ports: ports(fields, "public_ports").unwrap_or_default(),
    };
    match fields.take("mounts") {
        None => {}
        Some(Value::Array(mounts)) if mounts.is_empty() => {}
        Some(Value::Array(_)) => fields.wrong("mounts", "is not supported yet; leave it out or send []"),
        Some(_) => fields.wrong("mounts", "must be a list"),
    }
    order
}

fn template_name(fields: &mut Fields) -> String {
    let name = fields
        .string("template_name")
        .map_or_else(|| defaults::TEMPLATE.to_owned(), |name| name.trim().to_owned());
    if !limits::TEMPLATE_NAME_CHARS.contains(&name.chars().count()) {
        let range = limits::TEMPLATE_NAME_CHARS;
        fields.wrong("template_name", format!("must be {} to {} characters", range.start(), range.end()));
    }
    name
}

/// Memory in MiB, of a sandbox or a template's.
pub fn memory(fields: &mut Fields) -> Option<u32> {
    let memory = fields.integer("memory", limits::MEMORY_MIB)?;
    if !memory.is_multiple_of(2) {
        fields.wrong("memory", format!("must be even, in MiB, not {memory}"));
    }
    Some(memory)
}

/// Only the policy that forbids nothing, and nothing in it that would mean more. It is shown as it was
/// given, but for nulls, which are the same as nothing.
pub fn network_policy(fields: &mut Fields) -> Option<Value> {
    let Value::Object(mut object) = fields.take("network_policy")? else {
        fields.wrong("network_policy", "must be an object");
        return None;
    };
    object.retain(|_, value| !value.is_null());
    match object.get("mode") {
        Some(Value::String(mode)) if mode == "allow-all" => {}
        Some(Value::String(mode)) if mode == "deny-all" || mode == "custom" => {
            fields.wrong(
                "network_policy.mode",
                format!("{mode:?} is not supported yet; only \"allow-all\" is"),
            );
        }
        _ => fields.wrong("network_policy.mode", "must be \"allow-all\""),
    }
    for rule in ["allow_domains", "allow_cidrs", "transforms"] {
        let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
        if !object.get(rule).is_none_or(empty) {
            fields.wrong(format!("network_policy.{rule}"), "is not supported yet; leave it out or send []");
        }
    }
    Some(Value::Object(object))
}

/// `GET /v1/sandbox/{id}`.
pub async fn get(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
) -> Result<Json<Sandbox>> {
    sandboxes::get(&app, &caller.team, &id).await.map(Json)
}

/// `DELETE /v1/sandbox/{id}`.
pub async fn delete(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
) -> Result<StatusCode> {
    to_the_end(async move { sandboxes::delete(&app, &caller.team, &id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/sandbox/{id}/pause`: answers when what it is, is durable, and its compute is gone.
pub async fn pause(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
) -> Result<Response> {
    let keep_alive = app.limits.keep_alive;
    // To the end: a wish that is stored and not told would be told later, when nobody expects it.
    let pause = to_the_end(async move { pauses::pause(&app, &caller.team, &id).await });
    patiently(StatusCode::CREATED, keep_alive, pause).await
}

/// `POST /v1/sandbox/{id}/timeout`.
pub async fn change_timeout(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Json<Sandbox>> {
    let change = timeout_change(json_fields(&app, request).await?)?;
    // To the end: a wish that is stored and not told would be told later, when nobody expects it.
    to_the_end(async move { deadlines::change(&app, &caller.team, &id, change).await }).await.map(Json)
}

fn timeout_change(mut fields: Fields) -> Result<Change> {
    let given = ["timeout", "extend"].map(|name| fields.has(name));
    let timeout = fields.integer("timeout", limits::TIMEOUT_SECONDS).map(Change::In);
    let extend = fields.integer("extend", limits::TIMEOUT_SECONDS).map(Change::Later);
    match given {
        [true, true] => fields.wrong("extend", "cannot be sent together with timeout"),
        [false, false] => fields.wrong("timeout", "is required, or else extend"),
        _ => {}
    }
    fields.finish()?;
    timeout.or(extend).ok_or_else(|| Error::field("timeout", "is required, or else extend"))
}

/// `GET /v1/sandbox/{id}/system/user-home-dir`.
pub async fn user_home_dir(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
) -> Result<Json<UserHomeDir>> {
    directories::home(&app, &caller.team, &id).await.map(Json)
}

/// `GET /v1/sandbox/{id}/system/workdir`.
pub async fn workdir(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
) -> Result<Json<Workdir>> {
    directories::workdir(&app, &caller.team, &id).await.map(Json)
}

/// `GET /v1/sandbox/{id}/inspect`. Operators see every team's.
pub async fn inspect(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
) -> Result<Json<SandboxInspection>> {
    let team = (!caller.may(Scope::Operator)).then_some(&caller.team);
    sandboxes::inspect(&app, team, &id).await.map(Json)
}

/// `GET /v1/sandboxes`.
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<SandboxList>> {
    let page = page(Query::parse(query.as_deref())?)?;
    sandboxes::list(&app, &caller.team, &page).await.map(Json)
}

fn page(mut query: Query) -> Result<Page> {
    let state = query.read("state", &format!("one of {}", LISTED_STATES.join(", ")), |text| {
        LISTED_STATES.into_iter().find(|state| *state == text)
    });
    let template = query.text("template").map(str::to_owned);
    let by_state = query.read("sort", "created_at or state", |text| match text {
        "created_at" => Some(false),
        "state" => Some(true),
        _ => None,
    });
    let ascending = query.ascending();
    let paging = query.paging();
    query.finish()?;
    let sort = match (by_state.unwrap_or(false), ascending) {
        (false, true) => Sort::CreatedAsc,
        (false, false) => Sort::CreatedDesc,
        (true, true) => Sort::StateAsc,
        (true, false) => Sort::StateDesc,
    };
    Ok(Page { state, template, sort, paging })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::Paging;

    fn wrong_fields(result: Result<()>) -> Vec<String> {
        match result {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            _ => Vec::new(),
        }
    }

    fn check_order(json: Value, wrong: &[&str]) {
        let mut fields = Fields::parse(json.to_string().as_bytes()).unwrap();
        order(&mut fields);
        assert_eq!(wrong_fields(fields.finish()), wrong, "{json}");
    }

    #[test]
    fn a_policy_is_shown_without_nulls() {
        let body = json!({"network_policy": {"mode": "allow-all", "allow_domains": [], "transforms": null}});
        let mut fields = Fields::parse(body.to_string().as_bytes()).unwrap();
        let shown = network_policy(&mut fields).unwrap();
        assert_eq!(shown, json!({"mode": "allow-all", "allow_domains": []}));
    }

    #[test]
    fn a_create_body_is_bounded_field_by_field() {
        check_order(json!({}), &[]);
        check_order(
            json!({"template_name": null, "vcpu": null, "mounts": null, "network_policy": null}),
            &[],
        );
        check_order(
            json!({"vcpu": 8, "memory": 8192, "timeout": 28_800, "auto_pause": false, "mounts": []}),
            &[],
        );
        check_order(
            json!({"network_policy": {"mode": "allow-all", "allow_domains": []}, "new_field": 1}),
            &[],
        );
        check_order(json!({"vcpu": 0, "memory": 513, "timeout": 28_801}), &["vcpu", "memory", "timeout"]);
        check_order(json!({"template_name": "  "}), &["template_name"]);
        check_order(json!({"template_name": "x".repeat(65)}), &["template_name"]);
        check_order(json!({"auto_pause": true}), &[]);
        check_order(json!({"mounts": [{}]}), &["mounts"]);
        check_order(json!({"public_ports": [8080, 8080]}), &[]);
        check_order(json!({"public_ports": [1]}), &["public_ports"]);
        check_order(json!({"network_policy": {"mode": "deny-all"}}), &["network_policy.mode"]);
        check_order(json!({"network_policy": {}}), &["network_policy.mode"]);
        check_order(
            json!({"network_policy": {"mode": "allow-all", "transforms": [{}]}}),
            &["network_policy.transforms"],
        );
        check_order(
            json!({"template_name": 1, "vcpu": "2", "auto_pause": "no", "env_vars": []}),
            &["template_name", "vcpu", "auto_pause", "env_vars"],
        );
    }

    #[test]
    fn a_change_of_time_is_exactly_one_of_two() {
        let parse = |json: Value| timeout_change(Fields::parse(json.to_string().as_bytes()).unwrap());
        assert_eq!(parse(json!({"timeout": 1, "extend": null})).unwrap(), Change::In(1));
        assert_eq!(parse(json!({"extend": 28_800})).unwrap(), Change::Later(28_800));
        for (json, wrong) in [
            (json!({}), "timeout"),
            (json!({"timeout": 0}), "timeout"),
            (json!({"timeout": "60"}), "timeout"),
            (json!({"extend": 28_801}), "extend"),
            (json!({"timeout": 1, "extend": 1}), "extend"),
        ] {
            assert_eq!(wrong_fields(parse(json.clone()).map(|_| ())), [wrong], "{json}");
        }
    }

    #[test]
    fn a_list_query_names_everything_that_is_wrong() {
        let parse = |text| page(Query::parse(Some(text)).unwrap());
        let ok = parse("sort=state&order-by=asc&page=2&page-size=100&state=running&template=a%2Fb").unwrap();
        let (paging, template) = (Paging { page: 2, page_size: 100 }, Some("a/b".into()));
        let expect = Page { state: Some("running"), template, sort: Sort::StateAsc, paging };
        assert_eq!(ok, expect);
        assert_eq!(parse("").unwrap().sort, Sort::CreatedDesc);
        let bad = parse("state=deleted&sort=x&order-by=up&page=0&page-size=101").map(|_| ());
        assert_eq!(wrong_fields(bad), ["state", "sort", "order-by", "page", "page-size"]);
    }
}
