//! The two ends of a terminal (`pty(7)`): a program's, and ours.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use super::screen::Size;
use crate::sandbox::users::{self, Identity};

/// A terminal's permissions: its user may read and write.
const MODE: Mode = Mode::from_raw_mode(0o620);

/// Both ends. Each is closed on exec.
pub struct Pair {
    /// Ours; never waits.
    pub ours: OwnedFd,
    /// The program's.
    pub theirs: OwnedFd,
}

impl Pair {
    /// Makes a terminal that belongs to this user. May wait, for what is at `/dev/ptmx` is the sandbox's.
    pub fn open(size: Size, identity: &Identity) -> io::Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        unlockpt(&ours)?;
        let theirs = open_theirs(&ours)?;
        set_size(&ours, size)?;
        // Not every engine's terminals have these; programs do without.
        let _ = understand_utf8(&theirs);
        if users::may_switch() {
            let _ = rustix::fs::fchown(
                &theirs,
                Some(Uid::from_raw(identity.uid)),
                Some(Gid::from_raw(identity.gid)),
            );
            let _ = rustix::fs::fchmod(&theirs, MODE);
        }
        let flags = rustix::fs::fcntl_getfl(&ours)?;
        rustix::fs::fcntl_setfl(&ours, flags | OFlags::NONBLOCK)?;
        Ok(Self { ours, theirs })
    }
}

/// Tells the kernel how large a terminal is.
pub fn set_size(ours: &OwnedFd, size: Size) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(ours, size)?)
}

/// Where the engine knows no way past the file system, its name is opened, without waiting for what may stand there.
fn open_theirs(ours: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    if let Ok(theirs) = ioctl_tiocgptpeer(ours, flags) {
        return Ok(theirs);
    }
    let name = ptsname(ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let theirs = rustix::fs::open(name, flags, Mode::empty())?;
    let flags = rustix::fs::fcntl_getfl(&theirs)?;
    rustix::fs::fcntl_setfl(&theirs, flags - OFlags::NONBLOCK)?;
    Ok(theirs)
}

/// Erasing a letter erases all of its bytes.
fn understand_utf8(theirs: &OwnedFd) -> io::Result<()> {
    let mut modes = tcgetattr(theirs)?;
    modes.input_modes |= InputModes::IUTF8;
    Ok(tcsetattr(theirs, OptionalActions::Now, &modes)?)
}
