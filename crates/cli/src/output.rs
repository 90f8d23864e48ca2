//! What commands print: for people or for programs on standard output, notes on standard error.
//!
//! A reader that went away is an error here, never a panic; `client::report` knows it again.

use std::io::{self, Write};

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::oneshot;

/// An object of the API: as it came, and as this version understands it.
#[derive(Debug, Clone)]
pub struct Object<T> {
    raw: Value,
    /// What is understood of it.
    pub it: T,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = Value::deserialize(from)?;
        let it = T::deserialize(&raw).map_err(D::Error::custom)?;
        Ok(Self { raw, it })
    }
}

impl<T> Object<T> {
    /// As it came.
    pub fn raw(&self) -> &Value {
        &self.raw
    }
}

/// How answers are shown.
pub struct Output {
    json: bool,
}

impl Output {
    /// For programs, or for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read it.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Shows an object; `people` says how people want it.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn show<T>(&self, object: &Object<T>, people: impl FnOnce(&T) -> String) -> Result<()> {
        if self.json { self.value(&object.raw) } else { print(&people(&object.it)) }
    }

    /// Shows a value to programs.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn value(&self, value: &Value) -> Result<()> {
        print(&format!("{value:#}"))
    }
}

/// Prints a text, and the end of its last line where it has none.
///
/// # Errors
/// When standard output cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Passes bytes on to standard output.
///
/// # Errors
/// When it cannot be written.
pub fn pass_on(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Waits until whoever reads standard output has left, which writing alone would show no sooner than there is something
/// to write. For ever where it is no pipe.
pub async fn reader_left() -> io::Error {
    let (says, left) = oneshot::channel();
    // A thread that nobody waits for: it ends with the program.
    std::thread::spawn(move || says.send(wait_until_unread()));
    match left.await {
        Ok(Ok(())) => io::ErrorKind::BrokenPipe.into(),
        _ => std::future::pending().await,
    }
}

/// Asks for nothing, and so is told of nothing but that the other side is gone.
fn wait_until_unread() -> rustix::io::Result<()> {
    let out = io::stdout();
    retry_on_intr(|| poll(&mut [PollFd::new(&out, PollFlags::empty())], None)).map(drop)
}

/// Says something beside the answer. Nobody needs to read it.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A text of others without what a terminal would obey: control characters are shown as escapes. Lines stay lines.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.push('\n'),
            other if is_obeyed(other) => out.extend(other.escape_default()),
            other => out.push(other),
        }
    }
    out
}

/// Control characters, and those that turn the direction of writing.
fn is_obeyed(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_shown_as_it_came_with_what_we_do_not_know() {
        #[derive(Debug, Deserialize)]
        struct Known {
            name: String,
        }
        let object: Object<Known> = serde_json::from_str(r#"{"name":"a","new":1}"#).unwrap();
        assert_eq!(object.it.name, "a");
        assert_eq!(object.raw, serde_json::json!({"name": "a", "new": 1}));
        assert!(serde_json::from_str::<Object<Known>>(r#"{"new":1}"#).is_err());
    }

    #[test]
    fn no_name_can_command_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\rc\u{7}\u{9b}d"), "a\\u{1b}[2Jb\\rc\\u{7}\\u{9b}d");
        assert_eq!(printable("ä\n日本\u{202e}x"), "ä\n日本\\u{202e}x");
    }
}
