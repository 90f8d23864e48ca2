//! What the event loop watches, taken back without a trace.
//!
//! gVisor keeps what is no longer watched: after a restore, a descriptor that is removed from an epoll instance stays in
//! what the next checkpoint writes, and the restore after that tells of it once more, with the number it was watched
//! under (`epollInterest` is reloaded from wherever it is still pointed to, and counts as ready then; seen with release
//! 20240729). The event loop's numbers are addresses of what it has freed by then. So each of them is made the number
//! that means nothing to it before the descriptor is removed.

use std::ffi::{c_int, c_long};

/// What tokio gives the descriptor that wakes its event loop: it does nothing but look whether there is work.
const WAKES: u64 = 0;

/// Stands in for the C library's in this program: the linker takes it for everybody.
///
/// # Safety
/// As of `epoll_ctl(2)`: `event` is null or points to an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_ctl(
    epoll: c_int,
    operation: c_int,
    descriptor: c_int,
    event: *mut libc::epoll_event,
) -> c_int {
    if operation == libc::EPOLL_CTL_DEL {
        let mut silent = libc::epoll_event { events: 0, u64: WAKES };
        // SAFETY: the event lives until the call has returned. Whether it is watched at all, the removal says.
        unsafe { ask_kernel(epoll, libc::EPOLL_CTL_MOD, descriptor, &raw mut silent) };
    }
    // SAFETY: what the caller has promised.
    unsafe { ask_kernel(epoll, operation, descriptor, event) as c_int }
}

/// # Safety
/// As [`epoll_ctl`].
unsafe fn ask_kernel(
    epoll: c_int,
    operation: c_int,
    descriptor: c_int,
    event: *mut libc::epoll_event,
) -> c_long {
    // SAFETY: the arguments of the call; the caller answers for the event.
    unsafe { libc::syscall(libc::SYS_epoll_ctl, epoll, operation, descriptor, event) }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

    use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
    use rustix::event::{EventfdFlags, Timespec, eventfd};
    use rustix::io::Errno;

    use super::*;

    fn watch(epoll: BorrowedFd<'_>, descriptor: BorrowedFd<'_>) {
        epoll::add(epoll, descriptor, EventData::new_u64(7), EventFlags::IN).unwrap();
    }

    fn seen(epoll: BorrowedFd<'_>) -> Vec<u64> {
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 4];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let count = epoll::wait(epoll, &mut events[..], Some(&at_once)).unwrap();
        events[..count].iter().map(|event| event.data.u64()).collect()
    }

    /// Removes it as the event loop does.
    fn remove(epoll: BorrowedFd<'_>, descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
        let (epoll, descriptor) = (epoll.as_raw_fd(), descriptor.as_raw_fd());
        // SAFETY: a removal reads no event.
        let done = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, descriptor, std::ptr::null_mut()) };
        if done == 0 { Ok(()) } else { Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap()) }
    }

    #[test]
    fn the_whole_program_calls_ours() {
        let called: unsafe extern "C" fn(c_int, c_int, c_int, *mut libc::epoll_event) -> c_int =
            libc::epoll_ctl;
        assert!(std::ptr::fn_addr_eq(called, super::epoll_ctl as unsafe extern "C" fn(_, _, _, _) -> _));
    }

    #[test]
    fn what_is_removed_is_told_of_no_more_and_only_once_removed() {
        let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
        let ready = eventfd(1, EventfdFlags::CLOEXEC).unwrap();
        watch(epoll.as_fd(), ready.as_fd());
        assert_eq!(seen(epoll.as_fd()), [7]);
        assert_eq!(remove(epoll.as_fd(), ready.as_fd()), Ok(()));
        assert_eq!(seen(epoll.as_fd()), [0; 0]);
        assert_eq!(remove(epoll.as_fd(), ready.as_fd()), Err(Errno::NOENT));
        watch(epoll.as_fd(), ready.as_fd());
        assert_eq!(seen(epoll.as_fd()), [7]);
    }
}
