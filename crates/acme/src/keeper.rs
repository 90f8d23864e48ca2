//! Keeps the certificate fresh, whatever happens.

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Config;
use crate::journal::Journal;
use crate::kept::{CERTIFICATE_FILE, Kept};
use crate::records::Records;
use crate::trouble::Trouble;
use crate::{files, order, schedule};

/// All of one order has so long, besides the wait that is set.
const ORDER_BOUND: Duration = Duration::from_secs(15 * 60);
/// The longest sleep at once: clocks are set, and hosts are suspended.
const SLEEP_LONGEST: Duration = Duration::from_secs(60 * 60);

/// Keeps one certificate.
pub struct Keeper {
    config: Config,
    records: Records,
    journal: Journal,
}

impl Keeper {
    /// One for this domain.
    ///
    /// # Errors
    /// When something that was set makes no sense.
    pub fn new(config: Config) -> Result<Self, Trouble> {
        Ok(Self { records: Records::new(&config)?, journal: Journal::of(&config.dir), config })
    }

    /// Has a certificate, and another before that one is old, for as long as this runs.
    pub async fn keep(&self) -> Infallible {
        let mut failures = 0;
        loop {
            self.await_turn(failures).await;
            match self.renew().await {
                Ok(kept) => {
                    failures = 0;
                    let (until, renewal) = (kept.validity.until, schedule::renewal(&kept.validity));
                    tracing::info!(domain = %self.config.domain, directory = %self.config.directory, %until, %renewal,
                        "a certificate was issued");
                }
                Err(error) => {
                    failures += 1;
                    let until =
                        self.kept().map_or("there is none".into(), |kept| kept.validity.until.to_string());
                    tracing::error!(domain = %self.config.domain, failures, in_use_until = %until,
                        "no certificate was issued, and it is tried again: {error}");
                }
            }
        }
    }

    /// Removes the records of an order that was broken off, whoever was at it.
    pub async fn clear(&self) {
        if let Err(error) = self.records.clear().await {
            tracing::warn!(domain = %self.config.domain, "records are left in the DNS, and it is tried again: {error}");
        }
    }

    /// Waits until a certificate is to be asked for, and may be.
    async fn await_turn(&self, failures: u32) {
        if failures > 0 {
            tokio::time::sleep(schedule::wait(failures, getrandom::u32().unwrap_or_default())).await;
        }
        loop {
            // What a crash has left, or could not be removed an hour ago.
            self.clear().await;
            let now = Timestamp::now();
            let turn = self.turn(now);
            let Ok(left) = Duration::try_from(turn.duration_since(now)) else { return };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(SLEEP_LONGEST)).await;
        }
    }

    fn turn(&self, now: Timestamp) -> Timestamp {
        let due = self.kept().map_or(now, |kept| schedule::renewal(&kept.validity));
        due.max(self.journal.free(now))
    }

    async fn renew(&self) -> Result<Kept, Trouble> {
        let bound = ORDER_BOUND + Duration::from_secs(self.config.wait_seconds.into());
        let obtained =
            tokio::time::timeout(bound, order::obtain(&self.config, &self.journal, &self.records)).await;
        self.clear().await;
        let too_long = |_| Err(Trouble::new("asking for a certificate", "it takes too long"));
        let kept = obtained.unwrap_or_else(too_long)?;
        files::write(&self.config.dir.join(CERTIFICATE_FILE), &kept.text())?;
        Ok(kept)
    }

    /// What was issued, if it can be used.
    fn kept(&self) -> Option<Kept> {
        let read = Kept::read(&self.config.dir.join(CERTIFICATE_FILE));
        read.unwrap_or_else(|error| {
            tracing::warn!("the certificate that is kept cannot be used: {error}");
            None
        })
    }
}
