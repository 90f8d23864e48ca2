//! The writable disk of a sandbox: a sparse file with an ext4 file system in it.
//!
//! A file system of one size is made once, by `mkfs.ext4`, and copied for
//! every sandbox: only the few hundred KiB that hold something. When the file
//! system is full, programs inside see `ENOSPC` and the host does not notice.
//!
//! ```text
//! disks/base-<MiB>.img      what a new disk of this size looks like
//! disks/<sandbox id>.img    the disk of one sandbox
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use wire::id::SandboxId;

use crate::{Error, loops};

/// The ending of a base that is being made.
const DRAFT: &str = "draft";
/// What ext4 says of each of its file systems.
const EXT4: &str = "/sys/fs/ext4";
/// How long the kernel may hold on to the loop device of a disk that nobody uses any more.
const RELEASE_WAIT: Duration = Duration::from_secs(5);
/// How often that is looked at: it offers no event to wait for.
const RELEASE_POLL: Duration = Duration::from_millis(1);
/// Bytes of disk for each inode: the ratio `mkfs.ext4` itself uses for disks of this order.
const BYTES_PER_INODE: &str = "16384";

/// The directory of all disks.
#[derive(Debug, Clone)]
pub(crate) struct Disks {
    directory: PathBuf,
}

impl Disks {
    /// Disks in `directory`, which is made if missing. What a crash left of a base is removed.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&directory).map_err(Error::io(format!("creating {}", directory.display())))?;
        let disks = Self { directory };
        for file in disks.all()?.into_iter().filter(|file| file.extension().is_some_and(|e| e == DRAFT)) {
            fs::remove_file(&file).map_err(Error::io(format!("removing {}", file.display())))?;
        }
        Ok(disks)
    }

    /// Where a sandbox's disk is, if it has one.
    pub(crate) fn path(&self, id: &SandboxId) -> PathBuf {
        self.directory.join(format!("{id}.img"))
    }

    /// Makes a sandbox's disk. Blocks.
    ///
    /// # Errors
    /// When `mkfs.ext4` fails, or the host's disk is full.
    pub(crate) fn create(&self, id: &SandboxId, mib: u32) -> Result<PathBuf, Error> {
        let base = self.base(mib)?;
        let disk = self.path(id);
        copy_sparse(&base, &disk).map_err(Error::io(format!(
            "copying {} to {}",
            base.display(),
            disk.display()
        )))?;
        Ok(disk)
    }

    /// Removes a sandbox's disk and waits until the kernel has let go of it.
    ///
    /// # Errors
    /// When a loop device still holds it after [`RELEASE_WAIT`].
    pub(crate) async fn remove(&self, id: &SandboxId) -> Result<(), Error> {
        let disk = self.path(id);
        match tokio::fs::remove_file(&disk).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(format!("removing {}", disk.display()))(error));
            }
            _ => {}
        }
        let deadline = tokio::time::Instant::now() + RELEASE_WAIT;
        for (device, _) in self.loops()?.into_iter().filter(|(_, file)| *file == disk) {
            while loops::backing_file(&device).is_some_and(|file| file == disk) {
                if tokio::time::Instant::now() > deadline {
                    let what = "the release of a disk's loop device";
                    return Err(Error::Timeout { what, bound: RELEASE_WAIT });
                }
                tokio::time::sleep(RELEASE_POLL).await;
            }
        }
        Ok(())
    }

    /// Every file here but the bases.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>, Error> {
        let is_base =
            |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"base-"));
        Ok(self.all()?.into_iter().filter(|path| !is_base(path)).collect())
    }

    fn all(&self) -> Result<Vec<PathBuf>, Error> {
        let what = || format!("listing {}", self.directory.display());
        let entries = fs::read_dir(&self.directory).map_err(Error::io(what()))?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io(what()))).collect()
    }

    /// Loop devices of our disks: the device's name and its file.
    pub(crate) fn loops(&self) -> Result<Vec<(String, PathBuf)>, Error> {
        loops::below(&self.directory).map_err(Error::io("listing loop devices"))
    }

    /// Disks that the host did not take something of: whose, and what ext4 says of it. What it could not write it has
    /// dropped, and whoever wrote it was told that all is well.
    pub(crate) fn failed(&self) -> Result<Vec<(SandboxId, String)>, Error> {
        let owner = |file: &Path| file.file_stem()?.to_str()?.parse().ok();
        let found = self.loops()?.into_iter();
        Ok(found.filter_map(|(device, file)| Some((owner(&file)?, complaints(&device)?))).collect())
    }

    /// An empty disk of this size, made when it is first needed.
    fn base(&self, mib: u32) -> Result<PathBuf, Error> {
        let base = self.directory.join(format!("base-{mib}.img"));
        if base.exists() {
            return Ok(base);
        }
        // Made under a name of its own and renamed: whoever comes first wins, and a crash leaves no half disk.
        let nonce = std::thread::current().id();
        let draft = self.directory.join(format!("base-{mib}.{}.{nonce:?}.{DRAFT}", std::process::id()));
        let made = make(&draft, mib).and_then(|()| {
            fs::rename(&draft, &base).map_err(Error::io(format!("renaming {}", draft.display())))
        });
        if made.is_err() {
            let _ = fs::remove_file(&draft);
        }
        made.map(|()| base)
    }
}

/// What the file system on a device counts of writes that failed; `None` if there are none.
fn complaints(device: &str) -> Option<String> {
    let count = |name: &str| -> u64 {
        let text = fs::read_to_string(Path::new(EXT4).join(device).join(name));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    let (errors, warnings) = (count("errors_count"), count("warning_count"));
    (errors + warnings > 0)
        .then(|| format!("its ext4 on {device} counts {errors} errors and {warnings} warnings"))
}

fn make(file: &Path, mib: u32) -> Result<(), Error> {
    let size = u64::from(mib) * 1024 * 1024;
    let sized = File::create(file).and_then(|created| created.set_len(size));
    sized.map_err(Error::io(format!("creating {}", file.display())))?;
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-m", "0", "-i", BYTES_PER_INODE])
        // Nobody recovers a sandbox's disk after a crash of the host, nor grows it: no journal, no room for growth.
        .args(["-O", "^has_journal,^resize_inode"])
        .args(["-E", "lazy_itable_init=1,nodiscard"])
        .arg(file)
        .stdin(Stdio::null());
    let ran = mkfs.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Unfit {
            what: "mkfs.ext4 is not installed".into(),
            remedy: "run: apt-get install e2fsprogs".into(),
        },
        _ => Error::io("starting mkfs.ext4")(source),
    })?;
    if ran.status.success() {
        // Every disk of this size will be a copy of it: a lost host must not leave one that is cut.
        let synced = File::open(file).and_then(|made| made.sync_all());
        return synced.map_err(Error::io(format!("syncing {}", file.display())));
    }
    let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
    Err(Error::Program { program: "mkfs.ext4".into(), detail: format!("{}: {said}", ran.status) })
}

/// Copies a file, sharing its blocks where the file system can, else only the parts that hold data.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let target = OpenOptions::new().write(true).create_new(true).open(to)?;
    if rustix::fs::ioctl_ficlone(target.as_fd(), source.as_fd()).is_ok() {
        return Ok(());
    }
    let size = source.metadata()?.len();
    target.set_len(size)?;
    let mut offset = 0;
    while let Some((start, end)) = next_data(&source, offset)? {
        copy_range(&source, &target, start, end)?;
        offset = end;
    }
    Ok(())
}

/// The first part at or after `offset` that holds data.
fn next_data(file: &File, offset: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some((start, rustix::fs::seek(file, SeekFrom::Hole(start))?)))
}

fn copy_range(source: &File, target: &File, start: u64, end: u64) -> io::Result<()> {
    let (mut from, mut to) = (start, start);
    while from < end {
        let left = usize::try_from(end - from).unwrap_or(usize::MAX);
        let copied = rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), left)?;
        if copied == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn a_sparse_copy_has_the_same_bytes_and_the_same_holes() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let file = File::create(&from).unwrap();
        file.set_len(1 << 30).unwrap();
        for (offset, byte) in [(0, 1), (123 << 20, 2), ((1 << 30) - 4096, 3)] {
            file.write_all_at(&[byte; 4096], offset).unwrap();
        }
        copy_sparse(&from, &to).unwrap();
        let copy = File::open(&to).unwrap();
        assert_eq!(copy.metadata().unwrap().len(), 1 << 30);
        assert!(copy.metadata().unwrap().blocks() * 512 < 1 << 20, "the holes were filled");
        for (offset, byte) in [(0, 1), (123 << 20, 2), ((1 << 30) - 4096, 3), (77 << 20, 0)] {
            let mut bytes = [9; 4096];
            copy.read_exact_at(&mut bytes, offset).unwrap();
            assert!(bytes.iter().all(|b| *b == byte), "at {offset}");
        }
    }

    #[test]
    fn half_a_base_is_gone_after_the_next_start_and_a_whole_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        Disks::open(directory.path().to_owned()).unwrap().base(16).unwrap();
        fs::write(directory.path().join("base-64.1.ThreadId(2).draft"), b"half").unwrap();
        let disks = Disks::open(directory.path().to_owned()).unwrap();
        assert_eq!(disks.all().unwrap(), [directory.path().join("base-16.img")]);
    }

    #[tokio::test]
    async fn a_disk_is_made_from_one_base_and_removed_twice() {
        let directory = tempfile::tempdir().unwrap();
        let disks = Disks::open(directory.path().join("disks")).unwrap();
        let [one, two] = [1, 2].map(|n| SandboxId::from_entropy([n; wire::id::ENTROPY_BYTES]));
        disks.create(&one, 64).unwrap();
        disks.create(&two, 64).unwrap();
        assert_eq!(disks.files().unwrap().len(), 2);
        assert!(disks.create(&one, 64).is_err(), "a disk was overwritten");
        disks.remove(&one).await.unwrap();
        disks.remove(&one).await.unwrap();
        assert_eq!(disks.files().unwrap(), [disks.path(&two)]);
    }
}
