//! A disk of a story's own: a file system in a file, which can be filled, frozen and broken.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::statvfs;
use testkit::host;

/// Loop devices have this number.
const LOOP_MAJOR: u32 = 7;

/// A small disk, mounted until this is dropped.
pub struct Disk {
    dir: tempfile::TempDir,
}

/// What fills a disk until this is dropped.
pub struct Filler(PathBuf);

/// A disk that answers nobody who writes, until this is dropped.
pub struct Frozen<'a>(&'a Disk);

impl Disk {
    /// One of so many MiB. When it is broken, it refuses all writes from then on.
    ///
    /// # Panics
    /// When it cannot be made: this needs root.
    pub fn new(mib: u64) -> Self {
        let dir = tempfile::Builder::new().prefix("disk-").tempdir_in("/var/tmp").expect("a directory");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).expect("others may pass through it");
        let disk = Self { dir };
        let image = File::create(disk.image()).expect("a file");
        image.set_len(mib * 1024 * 1024).expect("it is sparse");
        // None of it is root's alone, and there is no journal that would end with the first error.
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-O", "^has_journal"], &[&disk.image()]);
        fs::create_dir(disk.path()).expect("a directory");
        disk.mount();
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// Mounts it again, sound, once nobody uses it: a copy, as the mount namespaces of others may still hold the broken
    /// one.
    ///
    /// # Panics
    /// When it is in use, or beyond repair.
    pub fn remount(&self) {
        run("umount", &[], &[&self.path()]);
        let copy = self.dir.path().join("copy");
        fs::copy(self.image(), &copy)
            .and_then(|_| fs::rename(copy, self.image()))
            .expect("there is room for a copy");
        // Its code is 1 where there was something to mend.
        let mended =
            Command::new("e2fsck").arg("-fy").arg(self.image()).output().expect("e2fsck is installed");
        assert!(matches!(mended.status.code(), Some(0 | 1)), "{mended:?}");
        self.mount();
    }

    fn mount(&self) {
        run("mount", &["-o", "loop,errors=remount-ro"], &[&self.image(), &self.path()]);
        fs::set_permissions(self.path(), Permissions::from_mode(0o711)).expect("others may pass through it");
    }

    /// What is free on it, in bytes.
    pub fn free_bytes(&self) -> u64 {
        let disk = statvfs(self.path()).expect("it is mounted");
        disk.f_bavail * disk.f_frsize
    }

    /// Fills it to the last byte.
    pub fn fill(&self) -> Filler {
        let filler = Filler(self.path().join("filler"));
        filler.grow();
        filler
    }

    /// Has it answer nobody who writes.
    pub fn freeze(&self) -> Frozen<'_> {
        run("fsfreeze", &["--freeze"], &[&self.path()]);
        Frozen(self)
    }

    /// Has its file system meet an error, after which it refuses all writes until it is mounted anew.
    ///
    /// # Panics
    /// When the kernel does not offer that.
    pub fn break_down(&self) {
        let directory = File::open(self.path()).expect("it is mounted");
        // What it has not taken yet is lost with it, as by a power failure.
        rustix::fs::syncfs(&directory).expect("it is sound so far");
        let device = directory.metadata().expect("it is open").dev();
        drop(directory);
        assert_eq!(rustix::fs::major(device), LOOP_MAJOR);
        let name = format!("/sys/fs/ext4/loop{}/trigger_fs_error", rustix::fs::minor(device));
        fs::write(name, "a story\n").expect("ext4 can be asked for an error");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}

impl Filler {
    /// Takes what has become free since.
    ///
    /// # Panics
    /// When it is not room that is missing.
    pub fn grow(&self) {
        let mut file =
            OpenOptions::new().create(true).append(true).open(&self.0).expect("an empty file takes nothing");
        for bytes in [1024 * 1024, 4096, 1] {
            let piece = vec![0x5a; bytes];
            loop {
                match file.write(&piece) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(self.0.path()).output();
    }
}

/// Has the kernel write what a sandbox wrote, which it would do by itself half a minute later.
///
/// # Panics
/// When nobody has a file of the sandbox's disk open.
pub fn flush(id: &str) {
    let file = open_files()
        .find(|file| is_on_disk_of(file, id))
        .expect("the sandbox's kernel has a file open there");
    // That it fails is the point.
    let _ = rustix::fs::syncfs(File::open(file).expect("it is still open"));
}

fn open_files() -> impl Iterator<Item = PathBuf> {
    let directories = host::pids().into_iter().map(|pid| format!("/proc/{pid}/fd"));
    directories
        .flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten())
        .map(|entry| entry.path())
}

fn is_on_disk_of(file: &Path, id: &str) -> bool {
    let Some(file) = fs::metadata(file).ok().filter(Metadata::is_file) else { return false };
    if rustix::fs::major(file.dev()) != LOOP_MAJOR {
        return false;
    }
    let backing = format!("/sys/block/loop{}/loop/backing_file", rustix::fs::minor(file.dev()));
    fs::read_to_string(backing).is_ok_and(|backing| backing.trim_end().ends_with(&format!("{id}.img")))
}

fn run(program: &str, options: &[&str], paths: &[&Path]) {
    let ran = Command::new(program).args(options).args(paths).output();
    let ran = ran.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
}
