//! Room on the disk of the data directory: looked at before anything is started there.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail};
use engine::probe::Check;
use rustix::fs::{StatVfs, statvfs};

use super::settings::Resolved;

/// Bytes of a MiB.
const MIB: u64 = 1024 * 1024;
/// A server needs so much to start: its store, its records, and what they grow by.
const START_MIB: u64 = 8;
/// What control holds for a full disk, and gives up when it starts on one.
const BALLAST_FILE: &str = "control/ballast";
/// Room that is kept where nothing else was said, in MiB …
const RESERVE_MIB: u64 = 1024;
/// … but no more than one part in so many of the disk.
const RESERVE_PART: u64 = 10;

/// Sees that the data directory can be written and has room for a server to start.
///
/// # Errors
/// When it has not; with the path, what is free, and what to do.
pub fn check(data_dir: &Path) -> Result<()> {
    let held = fs::metadata(data_dir.join(BALLAST_FILE)).map_or(0, |ballast| ballast.len());
    let free_mib = (free_bytes(&disk(data_dir)?) + held) / MIB;
    if free_mib < START_MIB {
        bail!(
            "the disk of {} has {free_mib} MiB free, and a server needs {START_MIB} MiB to start; make room there, and \
             start it again: nothing was changed",
            data_dir.display()
        );
    }
    if data_dir.is_dir() { try_to_write(data_dir) } else { Ok(()) }
}

fn try_to_write(data_dir: &Path) -> Result<()> {
    let trial = data_dir.join("trial.new");
    File::create(&trial).and_then(|_| fs::remove_file(&trial)).with_context(|| {
        format!(
            "the data directory {} cannot be written; see that its disk is mounted writable and is sound, and start \
             the server again",
            data_dir.display()
        )
    })
}

/// The disk of the data directory, as one of the things that `atoll doctor` looks at.
pub fn examine(data_dir: &Path) -> Check {
    let (ok, detail) = match disk(data_dir) {
        Ok(disk) => {
            let (free_mib, reserve_mib) = (free_bytes(&disk) / MIB, reserve_of(&disk));
            let detail =
                format!("{free_mib} MiB free for {}, {reserve_mib} of them kept", data_dir.display());
            (free_mib > reserve_mib, detail)
        }
        Err(error) => (false, format!("{error:#}")),
    };
    let remedy = if ok { String::new() } else { "make room there, or choose another --data-dir".to_owned() };
    Check { engine: "gvisor", name: "disk", ok, detail, remedy }
}

fn reserve_of(disk: &StatVfs) -> u64 {
    (disk.f_blocks.saturating_mul(disk.f_frsize) / RESERVE_PART / MIB).min(RESERVE_MIB)
}

/// Room below which no sandbox is made, in MiB.
pub fn reserve_mib(settings: &Resolved) -> u64 {
    let usual = || disk(&settings.data_dir).map_or(RESERVE_MIB, |disk| reserve_of(&disk));
    settings.disk_reserve_mib.unwrap_or_else(usual)
}

/// The disk that a directory is on, or will be.
fn disk(directory: &Path) -> Result<StatVfs> {
    let there = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    statvfs(there)
        .with_context(|| format!("the disk of {} cannot be asked for its size", directory.display()))
}

/// What others than root may still write.
fn free_bytes(disk: &StatVfs) -> u64 {
    disk.f_bavail.saturating_mul(disk.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_on_the_disk_of_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        check(&dir.path().join("not/there/yet")).unwrap();
        check(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the trial leaves nothing");
    }
}
