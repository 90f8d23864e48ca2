//! Where the database lies: whether its file is still the one that was opened, and whether there is room to write.
//!
//! What ends sandboxes has to be written down, and a disk that they have filled would keep it from that. So some
//! room is held by a file beside the database, the ballast: it goes when there is no other room left, and comes back
//! when there is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::error::{Error, Result};

/// The ballast's file in the data directory.
const BALLAST_FILE: &str = "ballast";

/// How much room the ballast holds: thousands of records.
const BALLAST_BYTES: u64 = 16 * 1024 * 1024;

/// With less room than this the ballast goes: more than any one transaction writes.
const ROOM_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// Where the database lies.
pub struct Place {
    database: PathBuf,
    /// Device and number of the file that was opened.
    identity: (u64, u64),
    ballast: PathBuf,
}

impl Place {
    /// Of a database that is there.
    pub fn of(database: &Path) -> io::Result<Self> {
        let identity = identity(database)?;
        let ballast = database.with_file_name(BALLAST_FILE);
        Ok(Self { database: database.to_owned(), identity, ballast })
    }

    /// To be asked before something is written.
    ///
    /// # Errors
    /// [`Error::DatabaseMoved`]: what is written to a file that has no name is lost with the process.
    pub fn prepare(&self) -> Result<()> {
        if !identity(&self.database).is_ok_and(|now| now == self.identity) {
            return Err(Error::DatabaseMoved { path: self.database.display().to_string() });
        }
        see_to_room(&self.database);
        Ok(())
    }

    /// Holds room again, if there is so much besides `spare_bytes`.
    pub fn hold_room(&self, spare_bytes: u64) {
        let wanted = spare_bytes.max(ROOM_BYTES_MIN) + BALLAST_BYTES;
        if self.ballast.exists() || self.free_bytes().is_ok_and(|free| free < wanted) {
            return;
        }
        if let Err(error) = take(&self.ballast) {
            let _ = fs::remove_file(&self.ballast);
            tracing::warn!(path = %self.ballast.display(), %error, "no room can be held for a full disk");
        }
    }

    /// What we may still write to the file system of the database, in bytes.
    pub fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(self.directory())
    }

    /// What may be used of that: some is spoken for while the ballast is not there.
    pub fn spare_bytes(&self) -> io::Result<u64> {
        let spoken_for = if self.ballast.exists() { 0 } else { BALLAST_BYTES };
        Ok(self.free_bytes()?.saturating_sub(spoken_for))
    }

    /// The directory of the database.
    pub fn directory(&self) -> &Path {
        self.database.parent().unwrap_or(&self.database)
    }
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let system = statvfs(directory)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Lets the ballast of this database go if there is no other room.
pub fn see_to_room(database: &Path) {
    let directory = database.parent().unwrap_or(database);
    if free_bytes(directory).is_ok_and(|free| free < ROOM_BYTES_MIN) {
        make_room(database);
    }
}

fn make_room(database: &Path) {
    let ballast = database.with_file_name(BALLAST_FILE);
    match fs::remove_file(&ballast) {
        Ok(()) => {
            tracing::warn!(path = %ballast.display(), "the disk is full; the room held for this is used now")
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            tracing::error!(path = %ballast.display(), %error, "the room held for a full disk stays held")
        }
    }
}

fn take(ballast: &Path) -> io::Result<()> {
    let file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(ballast)?;
    Ok(fallocate(&file, FallocateFlags::empty(), 0, BALLAST_BYTES)?)
}

fn identity(file: &Path) -> io::Result<(u64, u64)> {
    let known = fs::metadata(file)?;
    Ok((known.dev(), known.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_held_once_and_given_up_when_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("db");
        fs::write(&database, "").unwrap();
        let place = Place::of(&database).unwrap();
        place.hold_room(u64::MAX - BALLAST_BYTES);
        assert!(!place.ballast.exists(), "there is not so much");
        place.hold_room(0);
        assert_eq!(fs::metadata(&place.ballast).unwrap().blocks() * 512, BALLAST_BYTES);
        place.prepare().unwrap();
        assert!(place.ballast.exists(), "there is other room");
        make_room(&database);
        make_room(&database);
        assert!(!place.ballast.exists());
    }

    #[test]
    fn a_database_that_was_moved_away_is_not_written_until_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let (database, elsewhere) = (dir.path().join("db"), dir.path().join("elsewhere"));
        fs::write(&database, "").unwrap();
        let place = Place::of(&database).unwrap();
        fs::rename(&database, &elsewhere).unwrap();
        assert!(matches!(place.prepare(), Err(Error::DatabaseMoved { .. })));
        fs::write(&database, "another").unwrap();
        assert!(matches!(place.prepare(), Err(Error::DatabaseMoved { .. })));
        fs::rename(&elsewhere, &database).unwrap();
        place.prepare().unwrap();
    }
}
