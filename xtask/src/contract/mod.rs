//! `contract/`: what two sides that are upgraded apart must keep agreeing on, as text that a review can read.
//!
//! Written from the types in `wire`. Every variant and every field has an
//! example: a new one does not compile here until it has one too.

mod calls;
mod guest;
mod node;
mod public;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How to write the files again; they say so themselves.
const COMMAND: &str = "cargo run --release -p xtask -- contract";

/// The files, and what they should say.
fn files() -> Result<[(&'static str, String); 4]> {
    let api = public::describe()?;
    Ok([
        ("contract/guest.txt", guest::text()?),
        ("contract/node.json", node::text()?),
        ("contract/public.json", api.json()?),
        ("docs/api.html", api.page()),
    ])
}

/// Writes the files.
pub fn write(root: &Path) -> Result<bool> {
    for (path, text) in files()? {
        let target = root.join(path);
        target.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(target, text).with_context(|| format!("cannot write {path}"))?;
        println!("wrote {path}");
    }
    Ok(true)
}

/// Whether the files say what they should; where they do not is printed.
pub fn check(root: &Path) -> Result<bool> {
    let mut same = true;
    for (path, expected) in files()? {
        let found = fs::read_to_string(root.join(path)).unwrap_or_default();
        if let Some(line) = first_difference(&found, &expected) {
            println!("{path}:{line}: differs from `wire`: run `{COMMAND}` and review the change");
            same = false;
        }
    }
    Ok(same)
}

/// The first line, from 1, at which two texts differ.
fn first_difference(found: &str, expected: &str) -> Option<usize> {
    if found == expected {
        return None;
    }
    let common = found.lines().zip(expected.lines()).take_while(|(found, expected)| found == expected);
    Some(common.count() + 1)
}

/// A value as JSON, after making sure that the other side would read the same value from it.
fn example<T: Serialize + DeserializeOwned + PartialEq>(value: &T) -> Result<String> {
    let json = serde_json::to_string(value)?;
    let read: T = serde_json::from_str(&json).with_context(|| format!("{json} cannot be read back"))?;
    ensure!(read == *value, "{json} is read back as something else");
    Ok(json)
}

/// Examples of an enum: `name` and JSON of each. A variant without an example does not compile.
macro_rules! every_variant {
    ($type:ident { $($pattern:pat => $value:expr,)* }) => {{
        fn _has_an_example(value: $type) {
            match value { $($pattern => (),)* }
        }
        vec![$({
            let value: $type = $value;
            anyhow::ensure!(matches!(value, $pattern), "an example of {} is of another variant", stringify!($pattern));
            $crate::contract::example(&value)?
        }),*]
    }};
}
use every_variant;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_contract_is_the_one_in_wire() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert!(check(&root).unwrap(), "run `{COMMAND}`");
    }

    #[test]
    fn a_difference_is_found_at_its_line() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
        assert_eq!(first_difference("", "a\n"), Some(1));
        assert_eq!(first_difference("a\nb", "a\nb\n"), Some(3));
    }

    #[test]
    fn an_example_that_reads_back_as_another_is_refused() {
        assert!(example(&f64::NAN).is_err());
        assert_eq!(example(&7u32).unwrap(), "7");
    }
}
