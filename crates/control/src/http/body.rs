//! Reads bodies, whatever their content type says: clients send empty ones with none.

use axum::extract::Request;
use wire::public::limits::JSON_BYTES_MAX;

use super::App;
use super::fields::Fields;
use crate::content::Content;
use crate::error::Result;

/// The fields of a JSON body.
pub async fn json_fields(app: &App, request: Request) -> Result<Fields> {
    let mut content =
        Content::new(request.into_body(), "the JSON body", JSON_BYTES_MAX, app.limits.body_idle);
    match content.whole().await {
        Ok(bytes) => Fields::parse(&bytes),
        Err(error) => {
            content.drain().await;
            Err(error)
        }
    }
}
