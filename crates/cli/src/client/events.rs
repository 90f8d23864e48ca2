//! Server-Sent Events.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use super::answer::Lines;
use super::failure::Silent;

/// An answer, event by event.
///
/// Only `data` is looked at: the server's events say what they are and which number they have in there, too.
pub struct Events {
    lines: Lines,
    /// The lines of data of the event that is being read.
    data: Vec<String>,
    silence_max: Option<Duration>,
}

impl Events {
    /// The events of an answer.
    pub fn of(lines: Lines) -> Self {
        Self { lines, data: Vec::new(), silence_max: None }
    }

    /// The same, but a server that does not even say that it is there for so long counts as gone.
    pub fn silent_at_most(self, silence_max: Duration) -> Self {
        Self { silence_max: Some(silence_max), ..self }
    }

    /// The next event's data, or `None` when the stream has ended; an event without its end does not count.
    ///
    /// Nothing is lost when the wait for it is given up.
    ///
    /// # Errors
    /// When the connection breaks, or the server is silent for too long.
    pub async fn data(&mut self) -> Result<Option<String>> {
        while let Some(line) = self.line().await? {
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

    async fn line(&mut self) -> Result<Option<String>> {
        let next = self.lines.next();
        match self.silence_max {
            Some(bound) => tokio::time::timeout(bound, next).await.map_err(|_| Silent(bound))?,
            None => next.await,
        }
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
