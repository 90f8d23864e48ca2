//! The surroundings the launcher makes for itself and the programs it starts.

use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use super::Settings;

/// Moves this process, which has one thread, into a mount namespace of its own and sets the rest up as told.
pub(super) fn enter(settings: &Settings) -> io::Result<()> {
    // SAFETY: NEWNS does not touch the descriptor table, which is what makes `unshare` unsafe.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
    // A slave: what the host mounts later is seen here, what is mounted here is not seen there.
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    detach_copies(&settings.run_dir)?;
    share(&settings.run_dir.join("images"))?;
    if settings.cover_proc_sys_net {
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount("none", "/proc/sys/net", "tmpfs", flags, c"size=4k")?;
    }
    if settings.mask_membarrier {
        mask_membarrier()?;
    }
    Ok(())
}

/// Lets go of the copies of pinned namespaces that came with this mount namespace: nobody else could.
fn detach_copies(run_dir: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    for point in points.filter(|point| *point != run_dir && point.starts_with(run_dir)) {
        rustix::mount::unmount(point, UnmountFlags::DETACH)?;
    }
    Ok(())
}

/// Makes a directory one whose mounts appear in, and vanish from, the namespaces that sandboxes copy from this one.
fn share(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    rustix::mount::mount_bind(directory, directory)?;
    Ok(rustix::mount::mount_change(directory, MountPropagationFlags::SHARED)?)
}

/// Makes `membarrier` fail with `ENOSYS` in this process and all it starts (seccomp(2)).
fn mask_membarrier() -> io::Result<()> {
    const LOAD_NUMBER: libc::sock_filter = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
    const DENY: libc::sock_filter =
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    const ALLOW: libc::sock_filter = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    // A number of another architecture could be taken for this one; such programs do not run here.
    const IS_MEMBARRIER: libc::sock_filter = libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: 1,
        k: libc::SYS_membarrier as u32,
    };
    let mut filter = [LOAD_NUMBER, IS_MEMBARRIER, DENY, ALLOW];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: `program` points to four instructions and outlives the call, which copies them.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}
