//! `/v1/sandbox/{id}/presigned-url` and `…/presigned-urls`.

use axum::Json;
use axum::extract::{Extension, FromRequestParts, Request, State};
use http::StatusCode;
use http::request::Parts;
use wire::public::presigned::{CreatedPresignedUrl, PresignedUrlList, defaults, limits};

use super::App;
use super::body::json_fields;
use super::extract::{InSandbox, in_path};
use super::fields::Fields;
use crate::error::{Error, Result};
use crate::presigned::{self, Order};
use crate::store::Caller;

/// The URL in the path. What is not an id names nothing, but only in a sandbox that is there.
pub struct OfUrl(String);

impl<S: Send + Sync> FromRequestParts<S> for OfUrl {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        in_path(parts, state, "url", "presigned URL").await.map(Self)
    }
}

/// `POST …/presigned-url`.
pub async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<(StatusCode, Json<CreatedPresignedUrl>)> {
    let order = order(json_fields(&app, request).await?)?;
    Ok((StatusCode::CREATED, Json(presigned::create(&app, &caller.team, &id, order).await?)))
}

fn order(mut fields: Fields) -> Result<Order> {
    if !fields.has("port") {
        fields.wrong("port", "is required");
    }
    let port = fields.integer("port", 1..=u16::MAX.into());
    let expires_in = fields.integer("expires_in", limits::EXPIRES_IN_SECONDS);
    fields.finish()?;
    Ok(Order {
        port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
        expires_in_seconds: expires_in.unwrap_or(defaults::EXPIRES_IN_SECONDS),
    })
}

/// `GET …/presigned-urls`.
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
) -> Result<Json<PresignedUrlList>> {
    presigned::list(&app, &caller.team, &id).await.map(Json)
}

/// `DELETE …/presigned-url/{url}`.
pub async fn revoke(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    OfUrl(url): OfUrl,
) -> Result<StatusCode> {
    presigned::revoke(&app, &caller.team, &id, &url).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(body: Value, expect: Result<(u16, u32), &[&str]>) {
        let found = order(Fields::parse(body.to_string().as_bytes()).unwrap());
        let found = found.map(|order| (order.port, order.expires_in_seconds)).map_err(|error| match error {
            Error::Fields(errors) => errors.into_iter().map(|error| error.field).collect::<Vec<_>>(),
            other => panic!("{other}"),
        });
        assert_eq!(
            found,
            expect.map_err(|fields| fields.iter().map(ToString::to_string).collect()),
            "{body}"
        );
    }

    #[test]
    fn a_url_is_for_one_port_and_an_hour_unless_more_is_said() {
        check(json!({"port": 8080}), Ok((8080, 3600)));
        check(json!({"port": 65535, "expires_in": 1}), Ok((65535, 1)));
        check(json!({"port": null}), Err(&["port"]));
        check(json!({"port": 0, "expires_in": 0}), Err(&["port", "expires_in"]));
        check(json!({"port": 65536, "expires_in": 2_592_001}), Err(&["port", "expires_in"]));
        check(json!({"port": "80"}), Err(&["port"]));
    }
}
