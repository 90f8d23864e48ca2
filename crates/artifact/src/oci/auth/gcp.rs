//! Google's registries: a service account signs a statement, and gets a token for an hour.
//!
//! The key file itself, as the password of `_json_key`, is a login of the kind `basic`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::Login;
use super::token::{ANSWER_BYTES_MAX, expect_ok};
use crate::oci::failure::{Pulled, Trouble, internal, invalid, refused};
use crate::oci::http::{Ask, Http, read_bounded};
use crate::oci::settings::defaults;

/// Reading images, and nothing else.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_only";
/// Who logs in with a token.
const USERNAME: &str = "oauth2accesstoken";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// A statement is used at once.
const STATEMENT_SECONDS: i64 = 600;
/// How long a token lasts whose service does not say.
const LIFETIME: Duration = Duration::from_secs(600);

/// What we need of a key file.
#[derive(Deserialize)]
struct Account {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<u64>,
}

/// A login for this registry.
pub(crate) async fn login(http: &Http, registry: &str, key_file: &str) -> Result<(Login, Duration), Trouble> {
    let configured = &http.settings().gcp_token_endpoint;
    let (endpoint, is_operators) = (&configured.url()?, !configured.is(defaults::GCP_TOKEN_ENDPOINT));
    if !is_operators && !is_google(registry) {
        let message = format!("{registry} is no registry of Google (…pkg.dev, …gcr.io)");
        return Err(refused(format!("{message}; its credentials are not sent elsewhere")).into());
    }
    let account = account(key_file, endpoint)?;
    let statement = statement(&account, endpoint, Timestamp::now().as_second())?;
    let fields = [("grant_type", GRANT), ("assertion", &statement)];
    let mut ask = Ask::post_form(endpoint.clone(), &fields);
    ask.is_operators = is_operators;
    let mut answer = http.send(ask).await?;
    let body = read_bounded("a token", &mut answer.body, ANSWER_BYTES_MAX).await?;
    let place = endpoint.authority();
    expect_ok(place, &answer, || format!("Google does not accept the key of {}", account.client_email))?;
    let granted: Granted = serde_json::from_slice(&body)
        .map_err(|_| invalid(format!("{place} gave no token for {registry}")))?;
    let login = Login { username: USERNAME.to_owned(), password: granted.access_token };
    Ok((login, granted.expires_in.map_or(LIFETIME, Duration::from_secs)))
}

fn is_google(registry: &str) -> bool {
    registry == "gcr.io" || registry.ends_with(".gcr.io") || registry.ends_with(".pkg.dev")
}

/// The account of a key file. Where it wants us to go for a token is not for it to say.
fn account(key_file: &str, endpoint: &Url) -> Pulled<Account> {
    // What serde says of a file could repeat parts of it.
    let account: Account = serde_json::from_str(key_file).map_err(|error| {
        refused(format!(
            "gcp_service_account_json is no key file (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    if account.kind != "service_account" {
        return Err(refused("gcp_service_account_json is not the key file of a service account"));
    }
    match &account.token_uri {
        Some(uri) if Url::parse(uri).as_ref() != Ok(endpoint) => Err(refused(format!(
            "the key file wants its token from {uri}, and this node gets tokens from {endpoint}; \
             the operator can change that with --gcp-token-endpoint"
        ))),
        _ => Ok(account),
    }
}

/// A signed JWT (RFC 7523): who asks, for what, of whom, until when.
fn statement(account: &Account, endpoint: &Url, now: i64) -> Pulled<String> {
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(key_id) = &account.private_key_id {
        header["kid"] = json!(key_id);
    }
    let claims = json!({
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": endpoint.as_str(),
        "iat": now,
        "exp": now + STATEMENT_SECONDS,
    });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = format!("{header}.{claims}");
    let key = key(&account.private_key)?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .map_err(|_| internal("the statement for Google cannot be signed"))?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn key(pem: &str) -> Pulled<RsaKeyPair> {
    let wrong = || refused("the private_key of gcp_service_account_json is no RSA key");
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong())?;
    let key = match &key {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(wrong()),
    };
    key.map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_does_not_say_where_we_go() {
        let endpoint = Url::parse(defaults::GCP_TOKEN_ENDPOINT).unwrap();
        let file = |uri: &str| {
            json!({ "type": "service_account", "client_email": "a@b.test", "private_key": "s3cret",
                    "token_uri": uri })
            .to_string()
        };
        assert!(account(&file(defaults::GCP_TOKEN_ENDPOINT), &endpoint).is_ok());
        let refusal = account(&file("http://169.254.169.254/token"), &endpoint).err().unwrap().message;
        assert!(refusal.contains("169.254.169.254") && refusal.contains("--gcp-token-endpoint"), "{refusal}");
    }

    #[test]
    fn what_is_wrong_with_a_key_file_is_told_without_what_is_in_it() {
        let endpoint = Url::parse(defaults::GCP_TOKEN_ENDPOINT).unwrap();
        for wrong in ["s3cret", r#"{"type": "s3cret"}"#, r#"{"type": 5, "private_key": "s3cret"}"#] {
            let refusal = account(wrong, &endpoint).err().unwrap().message;
            assert!(!refusal.contains("s3cret"), "{refusal}");
        }
        assert!(!key("s3cret").unwrap_err().message.contains("s3cret"));
    }

    #[test]
    fn only_names_of_google_are_googles() {
        assert!(is_google("europe-docker.pkg.dev") && is_google("eu.gcr.io") && is_google("gcr.io"));
        assert!(!is_google("evilgcr.io") && !is_google("pkg.dev.evil.test") && !is_google("gcr.io:5000"));
    }
}
