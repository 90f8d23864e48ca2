//! Whether anybody is at home: an agent that has said nothing for a while is
//! asked how it is, and one that answers nothing at all is given up.
//!
//! Only silence counts, never slowness. Whatever comes from the agent is a
//! sign of life, and one answer in [`Pulse::silence_max`] is enough: a sandbox
//! that dozes, or has a small part of a busy host, gives that.

use std::future::pending;
use std::time::Duration;

use crate::guest::{Connection, GuestError};

/// So often is an agent that is silent asked, before it is given up.
const QUESTIONS: u32 = 4;

/// How long a silence may be.
#[derive(Debug, Clone, Copy)]
pub struct Pulse {
    /// An agent that said nothing for so long, although it was asked, is lost.
    pub silence_max: Duration,
}

impl Pulse {
    /// Waits until the agent is silent for too long, and says how that was seen. A connection that breaks is another
    /// matter, and another's.
    pub async fn lost(self, connection: &Connection) -> String {
        loop {
            let heard = connection.heard();
            tokio::time::sleep(self.silence_max / QUESTIONS).await;
            if connection.heard() != heard {
                continue;
            }
            match connection.ping(self.silence_max).await {
                Err(GuestError::Timeout { .. }) if connection.heard() == heard => {
                    return format!(
                        "it said nothing for {} s, although it was asked",
                        self.silence_max.as_secs()
                    );
                }
                Err(GuestError::Broken(_)) => pending().await,
                _ => {}
            }
        }
    }
}
