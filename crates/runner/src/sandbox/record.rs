//! What a node remembers of a sandbox across restarts of its process.
//!
//! A record is written before the first side effect and is the last thing to
//! go. It is not synced to the platter: it has to survive a killed process, which
//! the page cache does, and not a lost host, which takes the sandbox with it; but
//! for one that is paused, which outlives the host, and whose record does too.
//! Records hold the agent's token and the user's environment, so they are
//! readable by root alone.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wire::id::SandboxId;
use wire::node::SandboxSpec;
use wire::sandbox::Death;
use wire::snapshot::Root;

/// The ending of a record that is being written.
const DRAFT: &str = "new";
/// The format written by this build.
const VERSION: u32 = 1;

/// One sandbox, as remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// Which.
    pub id: SandboxId,
    /// The newest generation seen.
    pub generation: u64,
    /// What it is made of.
    pub spec: SandboxSpec,
    /// Proves to its agent that it is we who claimed it.
    pub token: String,
    /// How far it came.
    pub phase: Phase,
    /// The boot of the host it lives in (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// What it was when it was last paused: it wakes from that, and shares with it what it is paused to next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Root>,
    /// The snapshot that outlives it: the one it ended with, or, where something broke, the last it was paused to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<Root>,
}

/// How far a sandbox came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its bring-up has begun.
    Starting,
    /// Its agent answers; what it starts with is being started and waited for.
    Booting {
        /// Since when, on the clock that counts since the host booted.
        since_boot_ms: u64,
    },
    /// It runs.
    Running {
        /// When its time is up, on the clock that counts since the host booted.
        deadline_boot_ms: u64,
    },
    /// What it is, is being made durable.
    Pausing {
        /// As in `Running`: it goes on if that comes to nothing.
        deadline_boot_ms: u64,
    },
    /// What it is, is kept; whatever else there is of it on the host is to go.
    Paused,
    /// It is being taken down.
    Deleting {
        /// Why.
        death: Death,
    },
    /// It is gone; kept until control has heard why.
    Deleted {
        /// Why.
        death: Death,
        /// When it went, in wall-clock milliseconds: decides when the record is dropped.
        at_wall_ms: u64,
    },
}

impl Record {
    /// A record of a sandbox whose bring-up is about to begin.
    pub fn new(id: SandboxId, generation: u64, spec: SandboxSpec, token: String, boot_id: String) -> Self {
        Self {
            version: VERSION,
            id,
            generation,
            spec,
            token,
            phase: Phase::Starting,
            boot_id,
            kept: None,
            leaves: None,
        }
    }
}

/// The directory of records: `<id>.json` each.
#[derive(Debug, Clone)]
pub struct Records {
    dir: PathBuf,
}

impl Records {
    /// Opens the directory, making it if there is none, and removes what a crash left of a write.
    ///
    /// # Errors
    /// When it cannot be made or secured.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == DRAFT) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self { dir })
    }

    /// Writes the record, replacing an older one whole.
    ///
    /// # Errors
    /// When the disk refuses; an older record is then untouched.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        let temporary = self.dir.join(format!("{}.{DRAFT}", record.id));
        let lasting = record.phase == Phase::Paused;
        let written = draft(&temporary, &serde_json::to_vec(record)?, lasting)
            .and_then(|()| fs::rename(&temporary, self.path(&record.id)))
            .and_then(|()| if lasting { File::open(&self.dir)?.sync_all() } else { Ok(()) });
        if written.is_err() {
            // Half a record takes room that a full disk does not have.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Forgets a sandbox; it may be forgotten already.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, id: &SandboxId) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// One record.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn read(&self, id: &SandboxId) -> io::Result<Record> {
        read(&self.path(id))
    }

    /// Every record. One that cannot be read is reported and left out: what it
    /// owned is then found by name, as of any sandbox nobody knows.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn load(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                match read(&path) {
                    Ok(record) => records.push(record),
                    Err(error) => tracing::error!(path = %path.display(), %error, "a record cannot be read"),
                }
            }
        }
        Ok(records)
    }

    fn path(&self, id: &SandboxId) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }
}

fn draft(path: &Path, text: &[u8], lasting: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    if lasting { file.sync_all() } else { Ok(()) }
}

fn read(path: &Path) -> io::Result<Record> {
    let record: Record = serde_json::from_slice(&fs::read(path)?)?;
    if record.version == VERSION {
        Ok(record)
    } else {
        Err(io::Error::other(format!("record version {} is not {VERSION}", record.version)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use wire::sandbox::Resources;

    fn record(byte: u8) -> Record {
        let spec = SandboxSpec {
            image: wire::image::Digest::from_sha256([1; 32]),
            resources: Resources { vcpu: 1, memory_mib: 512, disk_mib: 1024, processes_max: 100 },
            timeout_seconds: 300,
            env: BTreeMap::from([("KEY".into(), "secret".into())]),
            workdir: "/workspace".into(),
            user: "user".into(),
            boot: None,
            auto_pause: false,
            from: None,
        };
        Record::new(SandboxId::from_entropy([byte; 20]), 1, spec, "token".into(), "boot".into())
    }

    #[test]
    fn records_come_back_as_written_and_only_root_may_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path().join("records")).unwrap();
        records.write(&record(1)).unwrap();
        records.write(&Record { generation: 2, ..record(1) }).unwrap();
        assert_eq!(records.load().unwrap(), [Record { generation: 2, ..record(1) }]);
        let mode = fs::metadata(records.path(&record(1).id)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_record_does_not_hide_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path().to_owned()).unwrap();
        records.write(&record(1)).unwrap();
        fs::write(records.path(&record(2).id), b"{ half a rec").unwrap();
        assert_eq!(records.load().unwrap(), [record(1)]);
    }

    #[test]
    fn half_a_write_is_gone_after_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path().to_owned()).unwrap();
        records.write(&record(1)).unwrap();
        fs::write(dir.path().join(format!("{}.new", record(2).id)), b"{ half").unwrap();
        let records = Records::open(dir.path().to_owned()).unwrap();
        assert_eq!(records.load().unwrap(), [record(1)]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn forgetting_twice_is_as_good_as_once() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path().to_owned()).unwrap();
        records.write(&record(1)).unwrap();
        records.remove(&record(1).id).unwrap();
        records.remove(&record(1).id).unwrap();
        assert_eq!(records.load().unwrap(), []);
    }
}
