//! What every answer of the dialect is wrapped in.
//!
//! Which status a failure has is decided where our own API decides it; here it gets the dialect's word for that status.
//! What the dialect alone refuses has its status here.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::super::super::error_body;
use crate::error::Error;

/// Why something was not done.
#[derive(Debug)]
pub enum Refusal {
    /// As our own API says it.
    Known(Error),
    /// It is more than this platform gives, or not for teams to say.
    Forbidden(String),
    /// The server cannot do it yet.
    NotYet(&'static str),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Known(error)
    }
}

/// An answer to something that went well.
pub fn data(status: StatusCode, data: Value) -> Response {
    (status, Json(json!({ "success": true, "data": data }))).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Known(error) => known(error),
            Self::Forbidden(message) => refused(StatusCode::FORBIDDEN, &message),
            Self::NotYet(message) => refused(StatusCode::SERVICE_UNAVAILABLE, message),
        }
    }
}

fn refused(status: StatusCode, message: &str) -> Response {
    let error = json!({ "code": word(status), "message": message });
    (status, Json(json!({ "success": false, "error": error }))).into_response()
}

/// The answer of our own API, its headers included, with another body.
fn known(error: Error) -> Response {
    let is_quota = matches!(error, Error::TeamLimit { .. });
    let told = error_body(&error);
    let (mut parts, _) = error.into_response().into_parts();
    if is_quota {
        parts.status = StatusCode::TOO_MANY_REQUESTS;
    }
    let errors: Vec<Value> = told
        .errors
        .iter()
        .map(|wrong| json!({ "field": field(&wrong.field), "error": wrong.error }))
        .collect();
    let details = json!({ "code": told.code, "errors": errors });
    let error = json!({ "code": word(parts.status), "message": told.message, "details": details });
    let body = json!({ "success": false, "error": error }).to_string();
    Response::from_parts(parts, Body::from(body))
}

/// What the dialect calls a field that our own API found wrong.
fn field(ours: &str) -> &str {
    match ours {
        "uri" => "spec.mainContainer.image",
        other => other,
    }
}

/// The code of an error with this status.
fn word(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        409 => "conflict",
        410 => "gone",
        429 => "quota_exceeded",
        502..=504 => "unavailable",
        500.. => "internal_error",
        _ => "bad_request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use wire::node::{PullFailure, PullFailureCode};

    async fn check(refusal: impl Into<Refusal>, status: u16, code: &str) -> (Response<()>, Value) {
        let (parts, body) = refusal.into().into_response().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((parts.status.as_u16(), &body["error"]["code"]), (status, &json!(code)), "{body}");
        assert_eq!(body["success"], json!(false));
        assert_eq!(parts.headers["content-type"], "application/json");
        (Response::from_parts(parts, ()), body)
    }

    #[tokio::test]
    async fn failures_have_the_dialects_words() {
        check(Error::field("spec", "is required"), 400, "bad_request").await;
        check(Error::TeamOnly, 403, "forbidden").await;
        check(Error::not_found("template", "x"), 404, "not_found").await;
        check(Error::AlreadyExists { kind: "template", name: "x".into() }, 409, "conflict").await;
        check(Error::MethodNotAllowed, 405, "bad_request").await;
        check(Error::internal("it broke", "why"), 500, "internal_error").await;
        check(Refusal::Forbidden("no".into()), 403, "forbidden").await;
        check(Refusal::NotYet("not yet"), 503, "unavailable").await;
        let limit = Error::TeamLimit { what: "templates", limit: 1, used: 1, wanted: 1 };
        check(limit, 429, "quota_exceeded").await;
    }

    #[tokio::test]
    async fn headers_are_those_of_our_own_answers() {
        let (answer, _) = check(Error::Unauthorized, 401, "unauthorized").await;
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        let (answer, _) = check(Error::NoNode, 503, "unavailable").await;
        assert_eq!(answer.headers()["retry-after"], "5");
        let (answer, _) =
            check(Error::RateLimited { per_second: 1, seconds: 7 }, 429, "quota_exceeded").await;
        assert_eq!(answer.headers()["retry-after"], "7");
    }

    #[tokio::test]
    async fn what_is_wrong_is_named_as_the_client_named_it() {
        let failure = PullFailure { code: PullFailureCode::NotFound, message: "there is none".into() };
        let (_, body) = check(Error::Pull(failure), 400, "bad_request").await;
        let expect = json!({
            "code": "invalid_image",
            "errors": [{ "field": "spec.mainContainer.image", "error": "there is none" }],
        });
        assert_eq!(body["error"]["details"], expect);
    }
}
