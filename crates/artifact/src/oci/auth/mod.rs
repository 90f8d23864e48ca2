//! What is shown to registries: credentials become a login, a login becomes a token, and both are kept while they last.
//!
//! A registry gets nothing before it asks, and only what is for it. Nothing here is logged.

mod azure;
mod challenge;
mod ecr;
mod gcp;
mod kept;
mod token;

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};
use wire::image::RegistryCredentials;

use self::challenge::Challenge;
use self::kept::Kept;
use super::failure::{Pulled, Trouble, unauthorized};
use super::http::Http;
use crate::sigv4;

/// Credentials, and what they are kept by.
#[derive(Clone)]
pub(crate) struct Keyed {
    credentials: RegistryCredentials,
    key: [u8; 32],
}

impl Keyed {
    pub(crate) fn new(credentials: RegistryCredentials) -> Self {
        let text = serde_json::to_vec(&credentials).unwrap_or_default();
        Self { credentials, key: Sha256::digest(text).into() }
    }
}

/// A name and password, as a registry takes them.
#[derive(Clone)]
pub(crate) struct Login {
    username: String,
    password: String,
}

impl Login {
    pub(crate) fn header(&self) -> Pulled<HeaderValue> {
        secret(&format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password))))
    }
}

/// A header that is not shown.
fn secret(text: &str) -> Pulled<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| unauthorized("the credentials have characters that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What something is shown for: this repository of this registry, to whoever has these credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    registry: String,
    repository: String,
    credentials: Option<[u8; 32]>,
}

/// Where and as whom a request is made.
#[derive(Clone)]
pub(crate) struct Visitor {
    /// Host, and port where it is not the usual one.
    pub registry: String,
    pub repository: String,
    pub credentials: Option<Arc<Keyed>>,
    /// Whether the operator's settings name the registry.
    pub is_operators: bool,
}

impl Visitor {
    fn key(&self) -> Key {
        let credentials = self.credentials.as_ref().map(|keyed| keyed.key);
        Key { registry: self.registry.clone(), repository: self.repository.clone(), credentials }
    }

    /// A login is good for all repositories.
    fn login_key(&self) -> Key {
        Key { repository: String::new(), ..self.key() }
    }
}

/// Gets and keeps what registries want to see.
pub(crate) struct Auth {
    http: Http,
    headers: Kept<HeaderValue>,
    logins: Kept<Login>,
}

impl Auth {
    pub(crate) fn new(http: Http) -> Self {
        Self { http, headers: Kept::default(), logins: Kept::default() }
    }

    /// What was good for this before.
    pub(crate) fn known(&self, visitor: &Visitor) -> Option<HeaderValue> {
        self.headers.get(&visitor.key(), Instant::now())
    }

    /// What answers a registry's refusal, `refused` being what was shown already.
    pub(crate) async fn answer(
        &self,
        visitor: &Visitor,
        asked: &HeaderMap,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Trouble> {
        let registry = &visitor.registry;
        self.headers.forget(&visitor.key());
        if refused.is_some() {
            // It may be the login that has run out.
            self.logins.forget(&visitor.login_key());
        }
        let Some(challenge) = challenge::choose(asked) else {
            return Err(
                unauthorized(format!("{registry} refused us and did not say what it wants to see")).into()
            );
        };
        let login = self.login(visitor).await?;
        let (header, lifetime) = match (challenge, login) {
            (Challenge::Bearer { realm, service }, login) => {
                token::fetch(&self.http, visitor, &realm, service.as_deref(), login.as_ref()).await?
            }
            (Challenge::Basic, Some(login)) => (login.header()?, kept::LIFETIME_MAX),
            (Challenge::Basic, None) => {
                let message =
                    format!("{registry} answered 401: it wants a name and password; give credentials");
                return Err(unauthorized(message).into());
            }
        };
        self.headers.keep(visitor.key(), header.clone(), lifetime, Instant::now());
        Ok(header)
    }

    async fn login(&self, visitor: &Visitor) -> Result<Option<Login>, Trouble> {
        let Some(keyed) = &visitor.credentials else { return Ok(None) };
        if let RegistryCredentials::Basic { username, password } = &keyed.credentials {
            return Ok(Some(Login { username: username.clone(), password: password.clone() }));
        }
        let key = visitor.login_key();
        if let Some(login) = self.logins.get(&key, Instant::now()) {
            return Ok(Some(login));
        }
        let registry = &visitor.registry;
        let (login, lifetime) = match &keyed.credentials {
            RegistryCredentials::Aws { aws_access_key_id, aws_secret_access_key, aws_region } => {
                let signer = sigv4::Signer { key_id: aws_access_key_id, secret: aws_secret_access_key };
                ecr::login(&self.http, registry, aws_region.as_deref(), signer).await?
            }
            RegistryCredentials::Gcp { gcp_service_account_json } => {
                gcp::login(&self.http, registry, gcp_service_account_json).await?
            }
            RegistryCredentials::Azure { azure_client_id, azure_client_secret, azure_tenant_id } => {
                let principal = azure::Principal {
                    client_id: azure_client_id,
                    secret: azure_client_secret,
                    tenant_id: azure_tenant_id,
                };
                azure::login(&self.http, registry, principal).await?
            }
            RegistryCredentials::Basic { .. } => unreachable!("answered above"),
        };
        self.logins.keep(key, login.clone(), lifetime, Instant::now());
        Ok(Some(login))
    }
}
