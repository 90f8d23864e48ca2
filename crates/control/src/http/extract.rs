//! Ids out of paths. What is not an id names nothing: 404, as for an id that is not there.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use wire::id::{KeyId, SandboxId, TeamId, TemplateId};

use crate::error::{Error, Result};

/// The sandbox in the path.
pub struct InSandbox(pub SandboxId);

/// The template in the path.
pub struct OfTemplate(pub TemplateId);

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
    let path = Path::<String>::from_request_parts(parts, state).await;
    let Path(text) = path.map_err(|_| Error::not_found(kind, "with bytes that are not UTF-8"))?;
    text.parse().map_err(|_| Error::not_found(kind, text))
}
