//! Who may read from a registry: nobody asked, names and passwords, or tokens with a scope and an end.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Response;
use serde_json::json;

use crate::web::{Asked, Body, answer, json, with_header};

/// What a registry wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gate {
    /// Nothing.
    #[default]
    Open,
    /// A name and password with every request.
    Basic,
    /// A token, which those with a name and password get.
    Tokens,
    /// A token, which everybody gets.
    OpenTokens,
}

/// Logins and tokens of one registry.
#[derive(Debug)]
pub(crate) struct Access {
    gate: Gate,
    token_lifetime: Duration,
    logins: Mutex<HashSet<(String, String)>>,
    tokens: Mutex<HashMap<String, (String, Instant)>>,
}

impl Access {
    pub(crate) fn new(gate: Gate, token_lifetime: Duration) -> Self {
        Self { gate, token_lifetime, logins: Mutex::default(), tokens: Mutex::default() }
    }

    pub(crate) fn accept(&self, username: &str, password: &str) {
        let login = (username.to_owned(), password.to_owned());
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).insert(login);
    }

    pub(crate) fn forget_tokens(&self) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A refusal, unless the request may read this repository.
    pub(crate) fn check(&self, asked: &Asked, realm: &str, repository: &str) -> Option<Response<Body>> {
        let scope = format!("repository:{repository}:pull");
        let shown = asked.header("authorization");
        let (may, challenge) = match self.gate {
            Gate::Open => (true, String::new()),
            Gate::Basic => (self.is_login(shown), "Basic realm=\"it\"".to_owned()),
            Gate::Tokens | Gate::OpenTokens => {
                let challenge = format!(r#"Bearer realm="{realm}",service="registry.test",scope="{scope}""#);
                (shown.is_some_and(|shown| self.is_token(shown, &scope)), challenge)
            }
        };
        let refusal = || with_header(json(401, &json!({ "errors": [] })), "www-authenticate", &challenge);
        (!may).then(refusal)
    }

    /// What the service of tokens answers.
    pub(crate) fn token(&self, asked: &Asked) -> Response<Body> {
        let shown = asked.header("authorization");
        let may = match self.gate {
            Gate::OpenTokens => shown.is_none() || self.is_login(shown),
            _ => self.is_login(shown),
        };
        let fields = Asked::fields(asked.uri.query().unwrap_or_default().as_bytes());
        let field =
            |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let (Some("registry.test"), Some(scope)) = (field("service"), field("scope")) else {
            return answer(400, "service and scope are missing");
        };
        if !may {
            return answer(401, "unknown login");
        }
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let token = format!("token-{}-{}", tokens.len(), scope.len());
        tokens.insert(token.clone(), (scope.to_owned(), Instant::now() + self.token_lifetime));
        json(200, &json!({ "token": token, "expires_in": self.token_lifetime.as_secs() }))
    }

    fn is_login(&self, shown: Option<&str>) -> bool {
        let text = shown.and_then(|shown| STANDARD.decode(shown.strip_prefix("Basic ")?).ok());
        let text = text.and_then(|text| String::from_utf8(text).ok()).unwrap_or_default();
        let login = text.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()));
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        login.is_some_and(|login| logins.contains(&login))
    }

    fn is_token(&self, shown: &str, scope: &str) -> bool {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shown.strip_prefix("Bearer ").and_then(|token| tokens.get(token));
        known.is_some_and(|(granted, until)| granted == scope && *until > Instant::now())
    }
}
