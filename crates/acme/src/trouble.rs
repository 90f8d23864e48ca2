//! Why there is no certificate, for the log.

use std::fmt::Display;

use instant_acme::Error;

/// What was being done, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct Trouble {
    doing: String,
    why: String,
}

impl Trouble {
    /// Of something that is not an error of a library.
    pub fn new(doing: impl Into<String>, why: impl Display) -> Self {
        Self { doing: doing.into(), why: why.to_string() }
    }

    /// Of what the authority said, or of the way there.
    pub(crate) fn acme(doing: impl Into<String>) -> impl FnOnce(Error) -> Self {
        move |error| Self::new(doing, explain(&error))
    }
}

/// The authority's own words, where it has said something.
pub(crate) fn explain(error: &Error) -> String {
    match error {
        Error::Api(problem) => {
            format!("the authority says: {}", problem.to_string().replace("API error: ", ""))
        }
        other => wire::causes::chain(other),
    }
}
