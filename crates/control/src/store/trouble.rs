//! What ails a database that refuses: the part of it that an operator can mend.

use std::time::Duration;

use crate::error::{Error, Result};

/// How long anything may take that is asked of the database: longer than it waits for a lock itself.
const STORE_SECONDS_MAX: u64 = 12;

/// What ails it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Its disk has no room.
    Full,
    /// Somebody else holds it, or its disk does not answer.
    Busy,
    /// Its disk refuses.
    Unwritable,
    /// What is in it cannot be read.
    Damaged,
}

impl Trouble {
    /// What is told of it, with what to do.
    pub fn text(self) -> &'static str {
        match self {
            Self::Full => {
                "the disk of the server's database is full, and nothing was changed; make room there and ask again"
            }
            Self::Busy => {
                "the server's database does not answer, as its disk is slow or something else holds it; what was \
                 asked may or may not have happened: ask again"
            }
            Self::Unwritable => {
                "the disk of the server's database refuses to be written, and nothing was changed; an operator has \
                 to see to it"
            }
            Self::Damaged => "the server's database is damaged; an operator has to put a backup in its place",
        }
    }

    /// What an error of SQLite says of it, by its result code (<https://sqlite.org/rescode.html>).
    pub fn of(error: &sqlx::Error) -> Option<Self> {
        let sqlx::Error::Database(said) = error else {
            return matches!(error, sqlx::Error::PoolTimedOut).then_some(Self::Busy);
        };
        // An extended code has the primary one in its lowest byte.
        let code: u32 = said.code()?.parse().ok()?;
        match code & 0xff {
            13 => Some(Self::Full),
            5 | 6 => Some(Self::Busy),
            8 | 10 | 14 => Some(Self::Unwritable),
            11 | 26 => Some(Self::Damaged),
            _ => None,
        }
    }
}

/// Bounds what is asked of the database: a disk that hangs must not hang its callers.
pub trait Within<T>: Future<Output = Result<T, sqlx::Error>> + Sized {
    /// What it comes to, within [`STORE_SECONDS_MAX`]. When that is over, what was asked may still happen.
    fn within(self) -> impl Future<Output = Result<T>> + Send
    where
        Self: Send,
    {
        async move {
            let bound = Duration::from_secs(STORE_SECONDS_MAX);
            match tokio::time::timeout(bound, self).await {
                Ok(done) => Ok(done?),
                Err(_) => Err(Error::StoreSlow { seconds: STORE_SECONDS_MAX }),
            }
        }
    }
}

impl<T, F: Future<Output = Result<T, sqlx::Error>>> Within<T> for F {}
