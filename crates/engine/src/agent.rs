//! The agent's binary, carried inside ours.
//!
//! `build.rs` makes it. Engines need it as a file: [`install`] puts it into a
//! directory under the name of its content, so that sandboxes which run an
//! older one keep theirs.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest as _, Sha256};

use crate::Error;

/// The agent: a static executable for this machine's architecture.
pub const BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/atoll-agent"));

/// Readable and executable by everybody: it runs as whom the engine says.
const MODE: u32 = 0o755;

/// Hexadecimal SHA-256 of [`BYTES`].
pub fn digest() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| hex::encode(Sha256::digest(BYTES)))
}

/// Makes sure `dir` (made if missing) holds the agent, and returns its path there.
///
/// Safe to call at the same time from several processes: the file appears whole, under the name of its content.
///
/// # Errors
/// [`Error::Io`] naming the path.
pub fn install(dir: &Path) -> Result<PathBuf, Error> {
    let path = dir.join(format!("agent-{}", digest()));
    if is_installed(&path) {
        return Ok(path);
    }
    fs::create_dir_all(dir).map_err(Error::io(format!("making {}", dir.display())))?;
    remove_abandoned(dir);
    let fresh = dir.join(fresh_name());
    let placed = write_durably(&fresh).and_then(|()| fs::rename(&fresh, &path));
    if placed.is_err() {
        // Best effort: the failure that is reported is the first one.
        let _ = fs::remove_file(&fresh);
    }
    placed.map_err(Error::io(format!("installing the agent as {}", path.display())))?;
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::io(format!("syncing {}", dir.display())))?;
    Ok(path)
}

/// Removes what processes were writing that have ended. Best effort: it takes room and does no harm.
fn remove_abandoned(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(".agent-").and_then(|rest| rest.split('.').nth(1));
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A name nobody else writes to at this moment.
fn fresh_name() -> String {
    static TURN: AtomicU32 = AtomicU32::new(0);
    format!(".agent-{}.{}.{}", digest(), std::process::id(), TURN.fetch_add(1, Ordering::Relaxed))
}

/// The name says what the content is; length and mode catch a file somebody cut or locked.
fn is_installed(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| {
        file.is_file() && file.len() == BYTES.len() as u64 && file.permissions().mode() & 0o777 == MODE
    })
}

fn write_durably(path: &Path) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(BYTES)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of this test's own, gone at its end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("atoll-install-{}-{name}", std::process::id()));
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// The segment that names a dynamic loader (ELF specification, "Program Header").
    const PT_INTERP: u32 = 3;

    /// The type of each program header of a little-endian 64-bit ELF file.
    fn program_header_kinds() -> Vec<u32> {
        let number = |at: usize, bytes: usize| {
            BYTES[at..at + bytes].iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte))
        };
        let (table, entry_bytes, entries) = (number(32, 8), number(54, 2), number(56, 2));
        (0..entries).map(|entry| number(table + entry * entry_bytes, 4) as u32).collect()
    }

    #[test]
    fn the_agent_is_a_static_executable() {
        assert_eq!(&BYTES[..4], b"\x7fELF");
        assert!(
            !program_header_kinds().contains(&PT_INTERP),
            "the agent asks for a loader, which images need not have"
        );
    }

    #[test]
    fn it_is_installed_once() {
        let dir = Scratch::new("once");
        let path = install(&dir.0.join("deep")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), BYTES);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let first = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(install(&dir.0.join("deep")).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), first, "it was written again");
        assert_eq!(fs::read_dir(dir.0.join("deep")).unwrap().count(), 1, "something was left beside it");
    }

    #[test]
    fn a_cut_file_is_replaced_and_a_dead_makers_draft_removed() {
        let dir = Scratch::new("cut");
        let path = install(&dir.0).unwrap();
        fs::write(&path, b"half").unwrap();
        let draft = |pid: &str| dir.0.join(format!(".agent-{}.{pid}.0", digest()));
        let own = std::process::id().to_string();
        // No process has the number zero.
        [draft("0"), draft(&own)].iter().for_each(|draft| fs::write(draft, b"half").unwrap());
        assert_eq!(fs::read(install(&dir.0).unwrap()).unwrap(), BYTES);
        assert!(draft(&own).exists() && !draft("0").exists());
    }
}
