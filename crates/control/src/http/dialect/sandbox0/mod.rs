//! The dialect of Sandbox0's clients, `/api/v1`: its templates. `docs/sandbox0.md` says what is understood and how.

mod builtin;
mod envelope;
mod name;
mod quantity;
mod spec;
mod status;
pub mod templates;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::super::{App, auth};
pub use envelope::Refusal;

/// What its paths begin with.
pub const PREFIX: &str = "/api/";

/// Lets requests with a team's key pass; the others are refused in the dialect.
pub async fn authorize(State(app): State<App>, request: Request, next: Next) -> Result<Response, Refusal> {
    let caller = auth::of_team(&app, request.headers()).await?;
    Ok(auth::pass(&app, caller, request, next).await?)
}
