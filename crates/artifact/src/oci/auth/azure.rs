//! Azure's registry: a principal gets a token of its directory, which the registry exchanges for one of its own.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::Login;
use super::token::{ANSWER_BYTES_MAX, expect_ok};
use crate::oci::failure::{Pulled, Trouble, invalid, refused};
use crate::oci::http::{Ask, Http, read_bounded};
use crate::oci::settings::defaults;

/// Who logs in with a registry's token.
const USERNAME: &str = "00000000-0000-0000-0000-000000000000";
/// What a token of the directory is for.
const SCOPE: &str = "https://containerregistry.azure.net/.default";
/// A registry's token lasts three hours.
const LIFETIME: Duration = Duration::from_secs(3 * 60 * 60);

/// A service principal.
pub(crate) struct Principal<'a> {
    pub client_id: &'a str,
    pub secret: &'a str,
    pub tenant_id: &'a str,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
}

#[derive(Deserialize)]
struct Exchanged {
    refresh_token: String,
}

/// A login for this registry.
pub(crate) async fn login(
    http: &Http,
    registry: &str,
    principal: Principal<'_>,
) -> Result<(Login, Duration), Trouble> {
    let configured = &http.settings().azure_login_endpoint;
    let (endpoint, is_operators) = (&configured.url()?, !configured.is(defaults::AZURE_LOGIN_ENDPOINT));
    if !is_operators && !is_azure(registry) {
        let message = format!("{registry} is no registry of Azure (….azurecr.io)");
        return Err(refused(format!("{message}; its credentials are not sent elsewhere")).into());
    }
    let directory = directory_url(endpoint, principal.tenant_id)?;
    let mut ask = Ask::post_form(
        directory,
        &[
            ("grant_type", "client_credentials"),
            ("client_id", principal.client_id),
            ("client_secret", principal.secret),
            ("scope", SCOPE),
        ],
    );
    ask.is_operators = is_operators;
    let denied = || format!("Azure does not accept the credentials for {registry}");
    let granted: Granted = post(http, ask, denied).await?;
    let ask = Ask::post_form(
        exchange_url(http, registry)?,
        &[
            ("grant_type", "access_token"),
            ("service", registry),
            ("tenant", principal.tenant_id),
            ("access_token", &granted.access_token),
        ],
    );
    let denied = || format!("{registry} does not know the service principal, or does not let it pull");
    let exchanged: Exchanged = post(http, ask, denied).await?;
    Ok((Login { username: USERNAME.to_owned(), password: exchanged.refresh_token }, LIFETIME))
}

async fn post<T: serde::de::DeserializeOwned>(
    http: &Http,
    ask: Ask,
    denied: impl FnOnce() -> String,
) -> Result<T, Trouble> {
    let place = ask.url.authority().to_owned();
    let mut answer = http.send(ask).await?;
    let body = read_bounded("a token", &mut answer.body, ANSWER_BYTES_MAX).await?;
    expect_ok(&place, &answer, denied)?;
    serde_json::from_slice(&body).map_err(|_| invalid(format!("{place} gave no token")).into())
}

fn is_azure(registry: &str) -> bool {
    [".azurecr.io", ".azurecr.cn", ".azurecr.us"].iter().any(|domain| registry.ends_with(domain))
}

/// Where a directory gives out tokens. Its id becomes part of a path.
fn directory_url(endpoint: &Url, tenant_id: &str) -> Pulled<Url> {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let is_id = !tenant_id.is_empty() && tenant_id.bytes().all(fit) && !tenant_id.starts_with('.');
    let url = endpoint.join(&format!("{tenant_id}/oauth2/v2.0/token"));
    url.ok()
        .filter(|_| is_id)
        .ok_or_else(|| refused(format!("`{tenant_id}` is not the id of a directory of Azure")))
}

fn exchange_url(http: &Http, registry: &str) -> Pulled<Url> {
    let base = crate::oci::registry::base_url(http.settings(), registry)?;
    base.join("/oauth2/exchange").map_err(|error| refused(format!("{registry}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_would_lead_elsewhere_is_refused() {
        let endpoint = Url::parse(defaults::AZURE_LOGIN_ENDPOINT).unwrap();
        let url = directory_url(&endpoint, "contoso.test").unwrap();
        assert_eq!(url.as_str(), "https://login.microsoftonline.com/contoso.test/oauth2/v2.0/token");
        for wrong in ["", "..", "../x", "//evil.test", "a/b", "a?b", "a#b", "https:evil"] {
            assert!(directory_url(&endpoint, wrong).is_err(), "{wrong}");
        }
    }
}
