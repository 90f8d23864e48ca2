//! `/v1/sandbox/{id}/public-ports`.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Extension, Request, State};
use serde_json::Value;
use wire::guest::AGENT_TCP_PORT;
use wire::public::sandbox::{PUBLIC_PORTS_MAX, PublicPorts};

use super::App;
use super::body::json_fields;
use super::extract::InSandbox;
use super::fields::Fields;
use crate::error::Result;
use crate::public_ports;
use crate::store::Caller;

/// `GET …/public-ports`.
pub async fn get(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
) -> Result<Json<PublicPorts>> {
    public_ports::get(&app, &caller.team, &id).await.map(Json)
}

/// `PUT …/public-ports`.
pub async fn set(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Json<PublicPorts>> {
    let ports = required(json_fields(&app, request).await?)?;
    public_ports::set(&app, &caller.team, &id, ports).await.map(Json)
}

fn required(mut fields: Fields) -> Result<BTreeSet<u16>> {
    if !fields.has("ports") {
        fields.wrong("ports", "is required; [] closes all");
    }
    let ports = ports(&mut fields, "ports");
    fields.finish()?;
    Ok(ports.unwrap_or_default())
}

/// Ports that can be opened, each once.
pub fn ports(fields: &mut Fields, name: &str) -> Option<BTreeSet<u16>> {
    let value = fields.take(name)?;
    let all = value.as_array().and_then(|items| items.iter().map(port).collect::<Option<BTreeSet<u16>>>());
    let fitting = all.filter(|ports| ports.len() <= PUBLIC_PORTS_MAX);
    if fitting.is_none() {
        let wanted = format!("must be a list of at most {PUBLIC_PORTS_MAX} ports from 1 to 65535");
        fields.wrong(name, format!("{wanted}; {AGENT_TCP_PORT} is not for users"));
    }
    fitting
}

fn port(value: &Value) -> Option<u16> {
    let port = u16::try_from(value.as_u64()?).ok()?;
    (port != 0 && port != AGENT_TCP_PORT).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: Value, expect: Option<&[u16]>) {
        let found = required(Fields::parse(body.to_string().as_bytes()).unwrap()).ok();
        assert_eq!(found.map(Vec::from_iter), expect.map(<[u16]>::to_vec), "{body}");
    }

    #[test]
    fn ports_are_a_set_in_bounds_and_the_agents_is_not_among_them() {
        check(json!({"ports": []}), Some(&[]));
        check(json!({"ports": [8080, 80, 8080, 65535]}), Some(&[80, 8080, 65535]));
        for wrong in
            [json!(null), json!(80), json!([0]), json!([1]), json!([65536]), json!(["80"]), json!([1.5])]
        {
            check(json!({"ports": wrong}), None);
        }
        check(json!({"ports": Vec::from_iter(2..35)}), None);
    }
}
