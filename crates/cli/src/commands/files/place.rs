//! `ID:PATH`: a place in a sandbox.

use std::str::FromStr;

use anyhow::Result;

use crate::client::Session;
use crate::commands::sandbox::resolve;

/// A place in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The sandbox: its id, or as much of its beginning as fits no other.
    pub sandbox: String,
    /// The path in it; relative ones begin at its workdir.
    pub path: String,
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((sandbox, path)) if !sandbox.is_empty() && !sandbox.contains('/') => {
                let path = if path.is_empty() { "." } else { path };
                Ok(Self { sandbox: sandbox.to_owned(), path: path.to_owned() })
            }
            _ => Err("expected ID:PATH, a sandbox and a path in it"),
        }
    }
}

impl Place {
    /// The path of an operation on the sandbox's files in the API.
    ///
    /// # Errors
    /// When no sandbox or more than one fits.
    pub async fn operation(&self, session: &Session, name: &str) -> Result<String> {
        Ok(format!("/v1/sandbox/{}/filesystem/{name}", resolve(session, &self.sandbox).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_sandbox_and_a_path_that_may_hold_anything() {
        let check = |text: &str, sandbox: &str, path: &str| {
            assert_eq!(text.parse(), Ok(Place { sandbox: sandbox.into(), path: path.into() }));
        };
        check("sbx-a:/tmp/x", "sbx-a", "/tmp/x");
        check("a:b:c", "a", "b:c");
        check("a:", "a", ".");
        for wrong in ["", "sbx-a", ":/tmp", "./a:b", "/a:b"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong:?}");
        }
    }
}
