//! Server-Sent Events.

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use super::answer::Lines;

/// An answer, event by event.
///
/// Only `data` is looked at: the server's events say what they are and which number they have in there, too.
pub struct Events {
    lines: Lines,
    /// The lines of data of the event that is being read.
    data: Vec<String>,
}

impl Events {
    /// The events of an answer.
    pub fn of(lines: Lines) -> Self {
        Self { lines, data: Vec::new() }
    }

    /// The next event's data, or `None` when the stream has ended; an event without its end does not count.
    ///
    /// Nothing is lost when the wait for it is given up.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn data(&mut self) -> Result<Option<String>> {
        while let Some(line) = self.lines.next().await? {
            if line.is_empty() {
                if !self.data.is_empty() {
                    return Ok(Some(std::mem::take(&mut self.data).join("\n")));
                }
            } else if let Some(data) = line.strip_prefix("data:") {
                self.data.push(data.strip_prefix(' ').unwrap_or(data).to_owned());
            }
        }
        Ok(None)
    }

    /// The next event, read as JSON.
    ///
    /// # Errors
    /// When the connection breaks, or this version does not know the event.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let Some(data) = self.data().await? else { return Ok(None) };
        serde_json::from_str(&data).map(Some).context("an event this version does not know")
    }
}
