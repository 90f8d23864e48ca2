//! The store: what should be, and what was last heard.
//!
//! SQLite in WAL mode: one connection writes, in transactions that take the
//! write lock at once (an upgrade from reading would fail with `SQLITE_BUSY`);
//! several only read. The SQL is the part that PostgreSQL understands as well:
//! `$1` placeholders, `ON CONFLICT`, ids as TEXT, times as BIGINT milliseconds.

mod events;
mod idempotency;
mod keys;
mod paging;
mod place;
mod presigned;
mod sandboxes;
mod snapshots;
mod teams;
mod templates;
mod trouble;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection, Sqlite, Transaction};

use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::pepper::PEPPER_FILE;
use place::Place;
use trouble::Within;

pub use events::EventRecord;
pub use idempotency::CreateKey;
pub use keys::{Caller, KeyRecord};
pub use paging::Paging;
pub use presigned::PresignedRecord;
pub use sandboxes::{Admission, Page, Promised, Sort};
pub use snapshots::{SnapshotPage, SnapshotSort};
pub use teams::TeamRecord;
pub use trouble::Trouble;

/// The database's file in the data directory.
const DATABASE_FILE: &str = "atoll.sqlite";

/// Connections that only read.
const READERS_MAX: u32 = 4;

/// How long a statement waits for a lock, and a caller for a connection.
const BUSY_SECONDS_MAX: Duration = Duration::from_secs(10);

/// How a write transaction begins.
const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

/// The store.
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    place: Place,
    changes: Changes,
}

impl Store {
    /// Opens the database of this data directory, makes it if it is not there, and brings its tables up to date.
    pub async fn open(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(DATABASE_FILE);
        refuse_to_begin_anew(&path)?;
        place::see_to_room(&path);
        private_file(&path)
            .map_err(|error| Error::start(format!("cannot make {}", path.display()), error))?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_SECONDS_MAX)
            .foreign_keys(true);
        let failed = |error| {
            let hint = Trouble::of(&error).map_or("", hint);
            Error::start(format!("cannot open the database {}{hint}", path.display()), error)
        };
        let writer = pool(1).connect_with(options.clone()).await.map_err(failed)?;
        sqlx::migrate!("migrations/sqlite").run(&writer).await.map_err(|error| {
            Error::start(format!("cannot bring the tables of {} up to date", path.display()), error)
        })?;
        let readers = pool(READERS_MAX).connect_with(options.read_only(true)).await.map_err(failed)?;
        let place = Place::of(&path)
            .map_err(|error| Error::start(format!("the database {} has gone", path.display()), error))?;
        Ok(Self { writer, readers, place, changes: Changes::default() })
    }

    /// From now on, what was allowed by what is changed is noted here.
    pub fn note_changes(&mut self, changes: Changes) {
        self.changes = changes;
    }

    /// A transaction that may write. Dropped without commit, it leaves no trace.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>> {
        self.place.prepare()?;
        self.writer.begin_with(BEGIN_WRITE).within().await
    }

    /// Proves that the store can be written, by writing.
    pub async fn check_writable(&self, now_ms: i64) -> Result<()> {
        self.place.prepare()?;
        let sql = "INSERT INTO readiness (id, checked_at_ms) VALUES (1, $1) \
                   ON CONFLICT (id) DO UPDATE SET checked_at_ms = excluded.checked_at_ms";
        sqlx::query(sql).bind(now_ms).execute(&self.writer).within().await?;
        Ok(())
    }

    /// Where it is kept, and how much room there is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Ends all connections; what was committed is on disk.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn pool(connections_max: u32) -> SqlitePoolOptions {
    // Testing a connection before each use costs a trip to its thread, and an embedded database does not hang up.
    SqlitePoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(BUSY_SECONDS_MAX)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(is_sound(connection)))
}

/// SQLite itself ends a transaction that its disk refused; the pool's count of them does not hear of it, and would
/// refuse every later one.
async fn is_sound(connection: &mut SqliteConnection) -> std::result::Result<bool, sqlx::Error> {
    // What ends the transaction of a caller who left is on its way before this.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// A database that is missing where there was one is not made anew: the nodes would be told to end everything that
/// an empty one does not know.
fn refuse_to_begin_anew(database: &Path) -> Result<()> {
    let pepper = database.with_file_name(PEPPER_FILE);
    if database.exists() || !pepper.exists() {
        return Ok(());
    }
    let (database, pepper) = (database.display(), pepper.display());
    let what = format!(
        "the database {database} is missing, although there was one: put it back, or a backup of it; \
         or, to begin anew with no keys, which ends every sandbox, remove {pepper} as well"
    );
    Err(Error::Start(what, None))
}

/// What to do about a database that cannot be opened.
fn hint(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Full => " (its disk is full: make room there)",
        Trouble::Busy => " (another process holds it: end that one)",
        Trouble::Unwritable => " (its disk refuses: see that it is mounted writable and ours to write)",
        Trouble::Damaged => " (it is damaged, and was left as it is: put a backup in its place)",
    }
}

/// Makes the directory with mode 0700, or closes the one that is there to others.
pub fn private_directory(path: &Path) -> Result<()> {
    let failed = |error| Error::start(format!("cannot make {} a private directory", path.display()), error);
    let mode = |mode| fs::Permissions::from_mode(mode);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let open = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0;
    if open { fs::set_permissions(path, mode(0o700)).map_err(failed) } else { Ok(()) }
}

/// SQLite gives its other files the mode of this one.
fn private_file(path: &Path) -> std::io::Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Reads a column that should hold this.
fn parse<T>(id: &str, parsed: std::result::Result<T, impl Into<crate::error::Source>>) -> Result<T> {
    parsed.map_err(|source| Error::Corrupt { id: id.to_owned(), source: source.into() })
}

/// A structure as JSON text.
fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal("cannot write JSON", error))
}

/// The word an enum is stored as: what it is on the wire.
fn word<T: serde::Serialize>(value: &T) -> Result<String> {
    Ok(json(value)?.trim_matches('"').to_owned())
}

/// The enum a word stands for.
fn from_word<T: serde::de::DeserializeOwned>(word: &str) -> serde_json::Result<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_files_are_private_and_a_second_open_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("control");
        private_directory(&data).unwrap();
        for _ in 0..2 {
            let store = Store::open(&data).await.unwrap();
            store.check_writable(1).await.unwrap();
            for entry in fs::read_dir(&data).unwrap() {
                let entry = entry.unwrap();
                assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.path());
            }
            store.close().await;
        }
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_disk_that_was_full_for_a_while_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let fill = "INSERT INTO teams (id, name, created_at_ms) VALUES ('t', hex(zeroblob(1000000)), 1)";
        sqlx::query("PRAGMA max_page_count = 1").execute(&store.writer).await.unwrap();
        for _ in 0..2 {
            let mut tx = store.write().await.unwrap();
            let failed = sqlx::query(fill).execute(&mut *tx).await.map_err(Error::from).unwrap_err();
            assert!(matches!(failed, Error::Store(Some(Trouble::Full), _)), "{failed:?}");
            drop(tx);
            store.write().await.expect("the next one is not refused for that");
            // Another connection does not know the limit.
            let _ = sqlx::query("PRAGMA max_page_count = 1").execute(&store.writer).await;
        }
        store.close().await;
    }

    #[tokio::test]
    async fn a_database_that_is_missing_or_damaged_is_neither_made_nor_changed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(PEPPER_FILE), "pepper").unwrap();
        let refusal = async || Store::open(dir.path()).await.err().expect("it is refused").to_string();
        assert!(refusal().await.contains("put it back"));
        let database = dir.path().join(DATABASE_FILE);
        assert!(!database.exists());
        let garbage = vec![b'x'; 10_000];
        fs::write(&database, &garbage).unwrap();
        assert!(refusal().await.contains("put a backup in its place"));
        assert_eq!(fs::read(&database).unwrap(), garbage);
    }

    #[tokio::test]
    async fn a_reader_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let write = sqlx::query("DELETE FROM readiness").execute(&store.readers).await;
        assert!(write.is_err());
    }
}
