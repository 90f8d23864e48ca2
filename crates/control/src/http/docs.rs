//! `/v1/openapi.json` and `/docs`: the API in its own words, as they are committed. No key.

use axum::response::{Html, IntoResponse, Response};
use http::header;

/// OpenAPI 3.1.
const DOCUMENT: &str = include_str!("../../../../contract/public.json");

/// The same as a page that loads nothing.
const PAGE: &str = include_str!("../../../../docs/api.html");

/// What the page may do: have its own style, and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// `GET /v1/openapi.json`.
pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

/// `GET /docs`.
pub async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)], Html(PAGE)).into_response()
}
