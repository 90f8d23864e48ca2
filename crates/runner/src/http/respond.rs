//! Where refusals become HTTP, and nowhere else.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use wire::node::{NodeError, NodeErrorCode};

/// A refusal on its way out.
pub struct Refusal(pub NodeError);

impl From<NodeError> for Refusal {
    fn from(error: NodeError) -> Self {
        Self(error)
    }
}

impl From<engine::Error> for Refusal {
    fn from(error: engine::Error) -> Self {
        Self(NodeError::new(NodeErrorCode::EngineFailed, wire::causes::chain(&error)))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}
