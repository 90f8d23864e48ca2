//! The thread of one watch: what the kernel says, in the words of the protocol.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::Timespec;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader};
use rustix::io::Errno;
use tokio::sync::Semaphore;
use wire::guest::watch::{Change, DEPTH_MAX, Watch};
use wire::guest::{Error, ErrorCode};

use super::base::Base;
use super::fresh::Fresh;
use super::halves::{Half, Halves};
use super::map::{Map, Watched};
use super::outbox::Outbox;
use crate::failure;
use crate::file::pattern::{Candidate, Pattern};
use crate::file::tree::patterns;
use crate::root::Root;
use crate::sandbox::Sandbox;

/// Bytes asked of the kernel at once: many events, and room for one of the longest name.
const READ_BYTES: usize = 16 * 1024;

/// A watch that stands.
pub struct Watcher<'a> {
    pub(super) root: &'a Root,
    pub(super) base: Base,
    pub(super) recursive: bool,
    pub(super) exclude: Vec<Pattern>,
    pub(super) inotify: Rc<OwnedFd>,
    pub(super) directories: Arc<Semaphore>,
    pub(super) map: Map,
    pub(super) fresh: Fresh,
    pub(super) outbox: &'a Outbox,
    halves: Halves,
}

/// Why a watch ends.
#[derive(Debug)]
pub enum Stop {
    /// Its directory is gone.
    Gone,
    /// It cannot be kept, or nobody wants to hear more.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What something is called.
pub(super) struct Called {
    /// Its absolute path.
    pub path: String,
    /// Whether it is left out.
    pub is_excluded: bool,
}

/// Something the kernel said of a name in a directory.
struct Heard<'a> {
    above: Watched,
    name: &'a CStr,
    called: Called,
    flags: ReadFlags,
    is_dir: bool,
    cookie: u32,
}

impl<'a> Watcher<'a> {
    /// Watches everything that is to be watched.
    pub fn establish(
        sandbox: &'a Sandbox,
        watch: &Watch,
        directories: Arc<Semaphore>,
        outbox: &'a Outbox,
    ) -> Result<Self, Error> {
        let exclude = patterns(&watch.exclude)?;
        let path = sandbox.absolute(&watch.path);
        let (base, directory) = Base::find(&sandbox.root, &path)?;
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(no_instance)?;
        let counted = super::look::count(&directories)?;
        let watched = super::look::add(&inotify, directory.fd())
            .map_err(|error| super::look::not_added(path.display(), error))?;
        let mut watcher = Self {
            root: &sandbox.root,
            base,
            recursive: watch.recursive,
            exclude,
            inotify: Rc::new(inotify),
            directories,
            map: Map::new(watched, counted),
            fresh: Fresh::default(),
            outbox,
            halves: Halves::default(),
        };
        watcher.look_again(directory)?;
        Ok(watcher)
    }

    /// Tells what happens, until the directory is gone.
    pub fn listen(&mut self) -> Result<(), Error> {
        let mut buffer = vec![MaybeUninit::uninit(); READ_BYTES];
        loop {
            match self.drain(&mut buffer).and_then(|()| self.wait()) {
                Ok(()) => {}
                Err(Stop::Gone) => return Ok(()),
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
    }

    /// Takes all that the kernel has to say now.
    fn drain(&mut self, buffer: &mut [MaybeUninit<u8>]) -> Result<(), Stop> {
        let inotify = self.inotify.clone();
        let mut reader = Reader::new(&*inotify, buffer);
        loop {
            self.outbox.check()?;
            match reader.next() {
                Ok(event) => self.take(event.wd(), event.events(), event.cookie(), event.file_name())?,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(failure::of("hearing of changes", error).into()),
            }
            if self.halves.deadline().is_some() {
                self.give_up_halves(Instant::now());
            }
        }
        let now = Instant::now();
        self.give_up_halves(now);
        self.fresh.settle(now);
        Ok(())
    }

    /// Waits until there is more to take, or to give up.
    fn wait(&self) -> Result<(), Stop> {
        let deadline = self.halves.deadline().into_iter().chain(self.fresh.deadline()).min();
        let left = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        let bell = self.outbox.bell();
        let mut wanted = [
            PollFd::from_borrowed_fd(self.inotify.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(bell, PollFlags::IN),
        ];
        match rustix::event::poll(&mut wanted, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(self.outbox.check()?),
            Err(error) => Err(failure::of("waiting for changes", error).into()),
        }
    }

    fn take(
        &mut self,
        watched: Watched,
        flags: ReadFlags,
        cookie: u32,
        name: Option<&CStr>,
    ) -> Result<(), Stop> {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return self.begin_again();
        }
        // One that was given up may still have been in the queue.
        if !self.map.has(watched) {
            return Ok(());
        }
        match name {
            None => self.take_own(watched, flags),
            Some(name) => self.take_named(watched, flags, cookie, name),
        }
    }

    /// Something about a directory itself. The one above tells it too, but for the one that was asked for.
    fn take_own(&mut self, watched: Watched, flags: ReadFlags) -> Result<(), Stop> {
        let ends = ReadFlags::DELETE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED;
        let is_base = watched == self.map.base();
        if is_base && flags.intersects(ends | ReadFlags::MOVE_SELF) {
            return Err(Stop::Gone);
        }
        if flags.intersects(ReadFlags::UNMOUNT | ReadFlags::IGNORED) {
            self.forget(watched);
        }
        if is_base && flags.contains(ReadFlags::ATTRIB) {
            let shown = if self.base.shown.is_empty() { b"/" } else { &self.base.shown[..] };
            let path = String::from_utf8_lossy(shown).into_owned();
            self.outbox.tell(&Change::Attributes { path, is_dir: true });
        }
        Ok(())
    }

    fn take_named(&mut self, above: Watched, flags: ReadFlags, cookie: u32, name: &CStr) -> Result<(), Stop> {
        let is_dir = flags.contains(ReadFlags::ISDIR);
        // A name that is heard of again was free again: what left it has gone for good.
        if let Some(half) = self.halves.take_from(above, name) {
            self.left(half);
        }
        let Some(called) = self.called(above, name, is_dir) else {
            return Err(self
                .too_deep(above, name, format!("moved to more than {DEPTH_MAX} levels deep"))
                .into());
        };
        let heard = Heard { above, name, called, flags, is_dir, cookie };
        if flags.contains(ReadFlags::MOVED_TO) {
            return self.arrived(heard);
        }
        if heard.called.is_excluded {
            return Ok(());
        }
        self.tell_of(heard)
    }

    /// Anything but the second half of a move, of what is not left out.
    fn tell_of(&mut self, heard: Heard) -> Result<(), Stop> {
        let Heard { above, name, flags, is_dir, .. } = heard;
        if flags.contains(ReadFlags::CREATE) {
            return self.appeared(heard);
        }
        if flags.contains(ReadFlags::MOVED_FROM) {
            self.leaves(heard);
            return Ok(());
        }
        let path = heard.called.path;
        if flags.contains(ReadFlags::DELETE) {
            self.fresh.take(above, name);
            self.forget_child(above, name);
            self.outbox.tell(&Change::Deleted { path, is_dir });
        } else if flags.contains(ReadFlags::MODIFY) {
            self.outbox.tell(&Change::Modified { path });
        } else if flags.contains(ReadFlags::CLOSE_WRITE) {
            self.outbox.tell(&Change::Written { path });
        } else if flags.contains(ReadFlags::ATTRIB) {
            self.outbox.tell(&Change::Attributes { path, is_dir });
            // It may be one that could not be entered before.
            if is_dir && self.map.child(above, name).is_none() {
                return self.enter(above, name, true);
            }
        }
        Ok(())
    }

    fn appeared(&mut self, heard: Heard) -> Result<(), Stop> {
        let Heard { above, name, called, is_dir, .. } = heard;
        if self.fresh.take(above, name) {
            return Ok(());
        }
        self.outbox.tell(&Change::Created { path: called.path, is_dir });
        if is_dir { self.enter(above, name, true) } else { Ok(()) }
    }

    /// The first half of a move.
    fn leaves(&mut self, heard: Heard) {
        let Heard { above, name, called, is_dir, cookie, .. } = heard;
        self.fresh.take(above, name);
        let half = Half { cookie, above, name: name.to_owned(), path: called.path, is_dir };
        if let Some(oldest) = self.halves.push(half, Instant::now()) {
            self.left(oldest);
        }
    }

    /// The second half of a move.
    fn arrived(&mut self, heard: Heard) -> Result<(), Stop> {
        let half = self.halves.take(heard.cookie);
        if heard.called.is_excluded {
            half.into_iter().for_each(|half| self.left(half));
            return Ok(());
        }
        // What was there is replaced.
        self.fresh.take(heard.above, heard.name);
        let Some(half) = half else { return self.appeared(heard) };
        let Heard { above, name, called, is_dir, .. } = heard;
        self.outbox.tell(&Change::Moved { from: half.path, to: called.path, is_dir });
        if !is_dir {
            return Ok(());
        }
        match (self.map.child(half.above, &half.name), self.map.child(above, name)) {
            // A look has found it here already.
            (None, Some(_)) => Ok(()),
            (None, None) => self.enter(above, name, true),
            (Some(moved), None) => {
                self.map.relocate(moved, above, name);
                // Other patterns may fit what is below it here.
                if self.exclude.is_empty() { Ok(()) } else { self.enter(above, name, false) }
            }
            // It took another's place, or they took each other's.
            (Some(_), Some(_)) => self.begin_again(),
        }
    }

    /// A half whose other half does not come.
    fn left(&mut self, half: Half) {
        self.forget_child(half.above, &half.name);
        self.outbox.tell(&Change::Deleted { path: half.path, is_dir: half.is_dir });
    }

    fn give_up_halves(&mut self, now: Instant) {
        while let Some(half) = self.halves.take_expired(now) {
            self.left(half);
        }
    }

    /// Something was lost on the way here: looks where everything is, and then says that everybody should.
    fn begin_again(&mut self) -> Result<(), Stop> {
        self.halves.clear();
        self.fresh.clear();
        let directory = self.base.open(self.root).ok_or(Stop::Gone)?;
        self.look_again(directory)?;
        self.outbox.tell(&Change::Rescan);
        Ok(())
    }

    fn forget_child(&mut self, above: Watched, name: &CStr) {
        if let Some(child) = self.map.child(above, name) {
            self.forget(child);
        }
    }

    /// Watches a directory and those below it no longer.
    pub(super) fn forget(&mut self, watched: Watched) {
        for gone in self.map.forget(watched) {
            // The kernel may have given it up itself.
            let _ = inotify::remove_watch(&*self.inotify, gone);
        }
    }

    /// What a name in a directory is called; `None` if it is not known where that is.
    pub(super) fn called(&self, above: Watched, name: &CStr, is_dir: bool) -> Option<Called> {
        let mut path = self.base.shown.clone();
        for part in self.map.names(above)?.into_iter().chain([name]) {
            path.push(b'/');
            path.extend_from_slice(part.to_bytes());
        }
        let below = String::from_utf8_lossy(&path[self.base.shown.len() + 1..]).into_owned();
        let path = String::from_utf8_lossy(&path).into_owned();
        let candidate = Candidate { name: &name.to_string_lossy(), below: &below, path: &path, is_dir };
        let is_excluded = self.exclude.iter().any(|pattern| pattern.fits(candidate));
        Some(Called { path, is_excluded })
    }
}

/// The kernel's bound on who hears of changes at all.
fn no_instance(error: Errno) -> Error {
    match error {
        Errno::MFILE | Errno::NFILE => {
            let message = "watching: the kernel has no more inotify instances for this user \
                           (fs.inotify.max_user_instances)";
            Error::new(ErrorCode::TooMany, message)
        }
        other => failure::of("watching", other),
    }
}

fn timespec(duration: Duration) -> Timespec {
    // A little longer: a wait that ends before the moment it was for would only be repeated.
    let duration = duration + Duration::from_millis(1);
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: duration.subsec_nanos().into() }
}
