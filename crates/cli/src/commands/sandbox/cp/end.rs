//! The two ends of a copy.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use crate::commands::files::Place;

/// Where something is copied from, or to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Standard input or output.
    Stream,
    /// On this machine.
    Here(PathBuf),
    /// In a sandbox.
    There(Place),
}

impl FromStr for End {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match (text, text.parse::<Place>()) {
            ("-", _) => Self::Stream,
            (_, Ok(place)) => Self::There(place),
            (_, Err(_)) => Self::Here(PathBuf::from(text)),
        })
    }
}

/// The last name of a path; none where the contents alone are meant, as in `/`, `a/.` and `a/..`.
pub fn name(path: &str) -> Option<&str> {
    let last = path.trim_end_matches('/').rsplit('/').next()?;
    (!matches!(last, "" | "." | "..")).then_some(last)
}

/// A path in a sandbox and a name below it.
pub fn below(path: &str, name: &str) -> String {
    format!("{}/{name}", path.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_colon_before_any_slash_is_in_a_sandbox() {
        let there = |sandbox: &str, path: &str| {
            End::There(Place { sandbox: sandbox.to_owned(), path: path.to_owned() })
        };
        assert_eq!("-".parse(), Ok(End::Stream));
        assert_eq!("sbx-a:/x".parse(), Ok(there("sbx-a", "/x")));
        assert_eq!("a:".parse(), Ok(there("a", ".")));
        for here in ["a", "./a:b", "/a:b", "", "../x"] {
            assert_eq!(here.parse(), Ok(End::Here(here.into())), "{here:?}");
        }
    }

    #[test]
    fn a_name_is_the_last_of_a_path_if_it_names_anything() {
        for (path, expect) in [
            ("/a/b", Some("b")),
            ("b/", Some("b")),
            ("a", Some("a")),
            ("/", None),
            ("a/.", None),
            ("..", None),
            ("", None),
        ] {
            assert_eq!(name(path), expect, "{path:?}");
        }
        assert_eq!(below("/", "a"), "/a");
        assert_eq!(below("b/", "a"), "b/a");
    }
}
