//! Who is asking. Keys come in `leap0-authorization` or `authorization`, with or without `Bearer`.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::App;
use crate::error::{Error, Result};
use crate::keys::{LAST_USED_GRAIN_MS, Scope};
use crate::quota::effective;
use crate::store::Caller;

/// When this header is there, the key is in it; `authorization` then belongs to the app inside a sandbox.
const OWN_HEADER: &str = "leap0-authorization";

/// Lets requests with a team's key pass, and says whose it is in a [`Caller`] extension.
pub async fn team(State(app): State<App>, request: Request, next: Next) -> Result<Response> {
    let caller = of_team(&app, request.headers()).await?;
    pass(&app, caller, request, next).await
}

/// Who asks, if it is with a team's key.
pub async fn of_team(app: &App, headers: &HeaderMap) -> Result<Caller> {
    let caller = caller(app, headers).await?;
    if !caller.may(Scope::Team) {
        return Err(Error::TeamOnly);
    }
    count(app, &caller)?;
    Ok(caller)
}

/// The same for any key.
pub async fn any(State(app): State<App>, request: Request, next: Next) -> Result<Response> {
    let caller = caller(&app, request.headers()).await?;
    count(&app, &caller)?;
    pass(&app, caller, request, next).await
}

/// The same for an operator's key. It is not counted: who is to raise a team's limits must get through.
pub async fn operator(State(app): State<App>, request: Request, next: Next) -> Result<Response> {
    let caller = caller(&app, request.headers()).await?;
    if !caller.may(Scope::Operator) {
        return Err(Error::OperatorOnly);
    }
    pass(&app, caller, request, next).await
}

/// Lets a request pass that is this caller's.
pub async fn pass(app: &App, caller: Caller, mut request: Request, next: Next) -> Result<Response> {
    tracing::Span::current().record("key", caller.key.as_str());
    note_use(app, &caller).await;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Who asks the ingress for something with this key. What goes to sandboxes is bounded there, and counts for no team's
/// rate of asking us.
pub async fn of_ingress(app: &App, key: Option<&str>) -> Result<Caller> {
    let caller = known(app, key).await?;
    if !caller.may(Scope::Team) {
        return Err(Error::TeamOnly);
    }
    note_use(app, &caller).await;
    Ok(caller)
}

async fn caller(app: &App, headers: &HeaderMap) -> Result<Caller> {
    known(app, key(headers)).await
}

/// Hashes whatever was sent and looks the hash up: the same work for every key, right or wrong. Nothing is
/// kept between requests, so that a key that was revoked opens nothing from then on.
async fn known(app: &App, key: Option<&str>) -> Result<Caller> {
    let hash = app.pepper.hash(key.unwrap_or_default());
    app.store.caller(&hash, app.now_ms()).await?.ok_or(Error::Unauthorized)
}

/// Counts the request, unless its team asks too often.
fn count(app: &App, caller: &Caller) -> Result<()> {
    let limits = effective(&app.limits.team, &caller.own_limits);
    let (per_second, burst) = (limits.requests_per_second, limits.requests_burst);
    app.rates.take(&caller.team, per_second, burst, Instant::now()).map_err(|wait| {
        let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        Error::RateLimited { per_second, seconds: seconds.max(1) }
    })
}

/// Writes down now and then that the key is used. That failing is no reason to refuse anything.
async fn note_use(app: &App, caller: &Caller) {
    let now_ms = app.now_ms();
    let since_ms = now_ms - LAST_USED_GRAIN_MS;
    if caller.last_used_at_ms.is_some_and(|at_ms| at_ms > since_ms) {
        return;
    }
    if let Err(error) = app.store.touch_key(&caller.key, now_ms, since_ms).await {
        tracing::warn!(error = wire::causes::chain(&error), "it cannot be written down that the key is used");
    }
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
