//! Several things that are deleted by one command.

use std::process::ExitCode;

use anyhow::Result;

use crate::client::{Session, report};
use crate::output::print;

/// Deletes each, and prints those that are gone; one that cannot be deleted keeps none of the others.
///
/// # Errors
/// When nobody reads it.
pub async fn each(
    session: &Session,
    names: &[String],
    delete: impl AsyncFn(&str) -> Result<()>,
) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for name in names {
        match delete(name).await {
            Ok(()) if session.output.is_json() => {}
            Ok(()) => print(name)?,
            Err(error) => code = report(&error.context(name.clone()), 1),
        }
    }
    Ok(code)
}
