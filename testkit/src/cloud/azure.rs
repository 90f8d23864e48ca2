//! Azure's directory, and what its registries do with its tokens.

use http::Response;
use serde_json::json;

use super::{Granted, expect};
use crate::web::{Asked, Body, answer, json};

const DIRECTORY_TOKEN: &str = "a-token-of-the-directory";
pub(super) const REFRESH_TOKEN: &str = "a-token-of-the-registry";
const SCOPE: &str = "https://containerregistry.azure.net/.default";

/// A service principal.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Its application id.
    pub client_id: String,
    /// Its secret.
    pub secret: String,
    /// Its directory.
    pub tenant_id: String,
}

impl Default for Principal {
    fn default() -> Self {
        Self {
            client_id: "11111111-2222-3333-4444-555555555555".into(),
            secret: "s3cret~of a&principal".into(),
            tenant_id: "66666666-7777-8888-9999-000000000000".into(),
        }
    }
}

pub(super) fn grant(asked: &Asked) -> Granted {
    let Principal { client_id, secret, tenant_id } = &Principal::default();
    let path = asked.uri.path();
    expect(400, path == format!("/{tenant_id}/oauth2/v2.0/token"), format!("no directory at {path}"))?;
    let form = asked.header("content-type") == Some("application/x-www-form-urlencoded");
    expect(400, form, "no form")?;
    let fields = Asked::fields(&asked.body);
    let is = |name: &str, value: &str| fields.iter().any(|(known, said)| known == name && said == value);
    expect(400, is("grant_type", "client_credentials") && is("scope", SCOPE), format!("{fields:?}"))?;
    expect(401, is("client_id", client_id) && is("client_secret", secret), "an unknown principal")?;
    Ok(json(200, &json!({ "access_token": DIRECTORY_TOKEN, "expires_in": 3599, "token_type": "Bearer" })))
}

/// What the registry of this address gives for a token of the directory.
pub(super) fn exchange(asked: &Asked, address: &str) -> Response<Body> {
    let fields = Asked::fields(&asked.body);
    let is = |name: &str, value: &str| fields.iter().any(|(known, said)| known == name && said == value);
    let is_known = is("access_token", DIRECTORY_TOKEN) && is("tenant", &Principal::default().tenant_id);
    match is("grant_type", "access_token") && is("service", address) && is_known {
        true => json(200, &json!({ "refresh_token": REFRESH_TOKEN })),
        false => answer(401, ""),
    }
}
