//! `/v1/sandbox/{id}/process…`: commands, and processes with an id.

mod batch;
mod events;
mod execute;
mod kept;
mod order;
mod signal;
mod stdin;

use axum::extract::FromRequestParts;
use http::request::Parts;
use wire::guest::process::is_id;
use wire::id::SandboxId;

use super::extract::{InSandbox, in_path};
use crate::error::{Error, Result};

pub use batch::batch;
pub use events::{attach, stream};
pub use execute::execute;
pub use kept::{forget, get, list, signal, start, wait};
pub use order::{command, to_run, user};
pub use stdin::stdin;

/// The process in the path, and its sandbox. What cannot be its id names nothing: 404.
pub struct InProcess {
    sandbox: SandboxId,
    process: String,
}

impl<S: Send + Sync> FromRequestParts<S> for InProcess {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let InSandbox(sandbox) = InSandbox::from_request_parts(parts, state).await?;
        let process = in_path(parts, state, "process", "process").await?;
        if is_id(&process) {
            Ok(Self { sandbox, process })
        } else {
            Err(Error::not_found("process", process))
        }
    }
}
