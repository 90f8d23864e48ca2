//! Loop devices: a file as a block device (loop(4)).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// `LOOP_CTL_GET_FREE`, linux/loop.h.
const GET_FREE: libc::c_ulong = 0x4C82;
/// `LOOP_CONFIGURE`, linux/loop.h, since Linux 5.8.
const CONFIGURE: libc::c_ulong = 0x4C0A;
const FLAG_READ_ONLY: u32 = 1;
/// The device forgets its file when its last user is gone.
const FLAG_AUTOCLEAR: u32 = 4;
/// How often another process may snatch the free device before we give up.
const TRIES_MAX: u32 = 64;

/// `struct loop_config`, linux/loop.h.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// `struct loop_info64`, linux/loop.h.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

const _: () = assert!(size_of::<Info>() == 232);
const _: () = assert!(size_of::<Config>() == 304);

/// A device that shows a file. It frees itself when this is dropped and nothing has it mounted.
#[derive(Debug)]
pub(crate) struct Loop {
    path: PathBuf,
    _open: File,
}

impl Loop {
    /// Puts `file` behind a free device.
    pub(crate) fn attach(file: &Path, read_only: bool) -> io::Result<Self> {
        let backing = OpenOptions::new().read(true).write(!read_only).open(file)?;
        let control = File::open("/dev/loop-control")?;
        for _ in 0..TRIES_MAX {
            // SAFETY: GET_FREE takes no argument and the descriptor is open.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) };
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            match configure(number, &backing, read_only) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                result => return result,
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "every free loop device was taken by others first"))
    }

    /// The device's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn configure(number: i32, backing: &File, read_only: bool) -> io::Result<Loop> {
    let path = PathBuf::from(format!("/dev/loop{number}"));
    let device = OpenOptions::new().read(true).write(!read_only).open(&path)?;
    // SAFETY: all fields are integers, for which zero is a value.
    let mut config: Config = unsafe { std::mem::zeroed() };
    config.fd = backing.as_raw_fd() as u32;
    config.info.flags = FLAG_AUTOCLEAR | if read_only { FLAG_READ_ONLY } else { 0 };
    // SAFETY: `config` is a `struct loop_config` that outlives the call; both descriptors are open.
    if unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, &raw const config) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Loop { path, _open: device })
}

/// The file a device of this name shows, deleted or not.
pub(crate) fn backing_file(device: &str) -> Option<PathBuf> {
    let file = fs::read_to_string(Path::new("/sys/block").join(device).join("loop/backing_file")).ok()?;
    Some(PathBuf::from(file.trim_end().trim_end_matches(" (deleted)")))
}

/// Every device that shows a file below `directory`: its name and the file.
pub(crate) fn below(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let names =
        fs::read_dir("/sys/block")?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let shown = names.filter_map(|name| backing_file(&name).map(|file| (name, file)));
    Ok(shown.filter(|(_, file)| file.starts_with(directory)).collect())
}
