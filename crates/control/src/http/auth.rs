//! Who is asking. Keys come in `leap0-authorization` or `authorization`, with or without `Bearer`.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::App;
use crate::error::{Error, Result};
use crate::keys::Scope;
use crate::store::Caller;

/// When this header is there, the key is in it; `authorization` then belongs to the app inside a sandbox.
const OWN_HEADER: &str = "leap0-authorization";

/// Lets requests with a team's key pass, and says whose it is in a [`Caller`] extension.
pub async fn team(app: State<App>, request: Request, next: Next) -> Result<Response> {
    with_scope(app, request, next, Scope::Team, Error::Unauthorized).await
}

/// The same for an operator's key.
pub async fn operator(app: State<App>, request: Request, next: Next) -> Result<Response> {
    with_scope(app, request, next, Scope::Operator, Error::OperatorOnly).await
}

async fn with_scope(
    State(app): State<App>,
    mut request: Request,
    next: Next,
    scope: Scope,
    refusal: Error,
) -> Result<Response> {
    let caller = caller(&app, request.headers()).await?;
    if !caller.may(scope) {
        return Err(refusal);
    }
    tracing::Span::current().record("key", caller.key.as_str());
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Hashes whatever was sent and looks the hash up: the same work for every key, right or wrong.
async fn caller(app: &App, headers: &HeaderMap) -> Result<Caller> {
    let hash = app.pepper.hash(key(headers).unwrap_or_default());
    app.store.caller(&hash).await?.ok_or(Error::Unauthorized)
}

fn key(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(OWN_HEADER).or_else(|| headers.get(AUTHORIZATION))?.to_str().ok()?.trim();
    match value.split_at_checked("bearer ".len()) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer ") => Some(key.trim()),
        _ => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &'static str)], expect: Option<&str>) {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        assert_eq!(key(&headers), expect, "{headers:?}");
    }

    #[test]
    fn keys_are_found_wherever_clients_put_them() {
        check(&[], None);
        check(&[("authorization", "atoll_x")], Some("atoll_x"));
        check(&[("authorization", "Bearer atoll_x")], Some("atoll_x"));
        check(&[("authorization", "bEaReR  atoll_x ")], Some("atoll_x"));
        check(&[("leap0-authorization", "Bearer atoll_x")], Some("atoll_x"));
        check(&[("leap0-authorization", "atoll_x"), ("authorization", "Bearer other")], Some("atoll_x"));
    }

    #[test]
    fn an_empty_own_header_does_not_fall_back() {
        check(&[("leap0-authorization", ""), ("authorization", "atoll_x")], Some(""));
    }
}
