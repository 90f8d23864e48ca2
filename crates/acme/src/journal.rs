//! When something was ordered, on disk: a process that is started again and again orders no more for that.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::trouble::Trouble;
use crate::{files, schedule};

/// The orders of the last while.
pub(crate) struct Journal(PathBuf);

impl Journal {
    /// That of a directory.
    pub(crate) fn of(dir: &Path) -> Self {
        Self(dir.join("orders.json"))
    }

    /// From when on there may be another order.
    pub(crate) fn free(&self, now: Timestamp) -> Timestamp {
        schedule::free(&self.recent(now), now)
    }

    /// There is going to be one.
    pub(crate) fn note(&self, now: Timestamp) -> Result<(), Trouble> {
        let mut orders = self.recent(now);
        orders.push(now);
        let seconds: Vec<i64> = orders.into_iter().map(Timestamp::as_second).collect();
        files::write_json(&self.0, &seconds)
    }

    fn recent(&self, now: Timestamp) -> Vec<Timestamp> {
        let seconds: Vec<i64> = files::read_json(&self.0).unwrap_or_default().unwrap_or_default();
        let moments = seconds.into_iter().filter_map(|second| Timestamp::from_second(second).ok());
        schedule::recent(moments.collect(), now)
    }
}
