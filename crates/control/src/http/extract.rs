//! Ids out of paths. What is not an id names nothing: 404, as for an id that is not there.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use wire::id::{KeyId, SandboxId, SnapshotId, TeamId, TemplateId};

use crate::error::{Error, Result};

/// The sandbox in the path.
pub struct InSandbox(pub SandboxId);

/// The template in the path.
pub struct OfTemplate(pub TemplateId);

/// The snapshot in the path.
pub struct OfSnapshot(pub SnapshotId);

/// The key in the path.
pub struct OfKey(pub KeyId);

/// The team in the path.
pub struct OfTeam(pub TeamId);

impl<S: Send + Sync> FromRequestParts<S> for InSandbox {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        id(parts, state, "sandbox").await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OfTemplate {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        id(parts, state, "template").await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OfSnapshot {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        id(parts, state, "snapshot").await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OfKey {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        id(parts, state, "key").await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OfTeam {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        id(parts, state, "team").await.map(Self)
    }
}

async fn id<Id: FromStr, S: Send + Sync>(parts: &mut Parts, state: &S, kind: &'static str) -> Result<Id> {
    let text = in_path(parts, state, "id", kind).await?;
    text.parse().map_err(|_| Error::not_found(kind, text))
}

/// What stands in the place of `{name}` in the path, decoded. Empty if the route has no such place.
pub async fn in_path<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
    kind: &'static str,
) -> Result<String> {
    let all = RawPathParams::from_request_parts(parts, state).await;
    let all = all.map_err(|_| Error::not_found(kind, "with bytes that are not UTF-8"))?;
    Ok(all.iter().find(|(found, _)| *found == name).map_or_else(String::new, |(_, text)| text.to_owned()))
}
