//! Google's service of tokens: a statement signed by a service account becomes a token (RFC 7523).

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rsa::KeyPair;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::{Granted, expect, now};
use crate::registry::openssl;
use crate::web::{Asked, json};

pub(super) const ACCESS_TOKEN: &str = "ya29.a-token-for-an-hour";
const EMAIL: &str = "puller@project.iam.gserviceaccount.com";
const KEY_ID: &str = "a-key-of-a-test";
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_only";

#[derive(Debug)]
pub(super) struct Gcp {
    private_key: String,
    public_key: Vec<u8>,
    url: Mutex<String>,
}

impl Gcp {
    /// An account with a key of its own.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let key = openssl(dir.path(), &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
        let private_key = String::from_utf8(key).expect("PEM is text");
        let der = PrivatePkcs8KeyDer::from_pem_slice(private_key.as_bytes()).expect("a key");
        let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("an RSA key");
        let public_key = pair.public().as_ref().to_vec();
        Self { private_key, public_key, url: Mutex::default() }
    }

    pub(super) fn set_url(&self, url: String) {
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    fn url(&self) -> String {
        self.url.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn key_file(&self) -> String {
        json!({
            "type": "service_account",
            "project_id": "project",
            "private_key_id": KEY_ID,
            "private_key": self.private_key,
            "client_email": EMAIL,
            "token_uri": self.url(),
        })
        .to_string()
    }

    pub(super) fn grant(&self, asked: &Asked) -> Granted {
        let fields = Asked::fields(&asked.body);
        let field =
            |name: &str| fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        let is_jwt = field("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer";
        expect(400, is_jwt, format!("grant_type `{}`", field("grant_type")))?;
        let claims = self.claims(field("assertion")).map_err(|reason| (400, reason))?;
        let second = |name: &str| claims[name].as_u64().unwrap_or_default();
        expect(400, claims["iss"] == EMAIL, format!("iss {}", claims["iss"]))?;
        expect(400, claims["aud"] == self.url(), format!("aud {}", claims["aud"]))?;
        expect(400, claims["scope"] == SCOPE, format!("scope {}", claims["scope"]))?;
        let is_now = second("iat") <= now() + 60 && second("exp") > now();
        expect(
            400,
            is_now && second("exp") - second("iat") <= 3600,
            format!("from {} to {}", second("iat"), second("exp")),
        )?;
        Ok(json(200, &json!({ "access_token": ACCESS_TOKEN, "expires_in": 3599, "token_type": "Bearer" })))
    }

    /// What a statement says, if the account signed it.
    fn claims(&self, statement: &str) -> Result<Value, String> {
        let (text, signature) = statement.rsplit_once('.').ok_or("no JWT")?;
        let (header, claims) = text.split_once('.').ok_or("no JWT")?;
        let [header, claims, signature] =
            [header, claims, signature].map(|part| URL_SAFE_NO_PAD.decode(part).unwrap_or_default());
        let header: Value = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
        if header["alg"] != "RS256" || header["kid"] != KEY_ID {
            return Err(format!("a header of {header}"));
        }
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key)
            .verify(text.as_bytes(), &signature)
            .map_err(|_| "the signature does not match")?;
        serde_json::from_slice(&claims).map_err(|error| error.to_string())
    }
}
