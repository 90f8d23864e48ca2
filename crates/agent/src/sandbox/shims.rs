//! Repairs of what an engine gets wrong. Each is asked for by the claim, because a probe of the engine found the need.

use std::io;
use std::os::unix::fs::PermissionsExt;

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

const TMP: &str = "/tmp";
/// Everybody may make files in it, nobody may remove those of others.
const TMP_MODE: u32 = 0o1777;

/// Takes away the memory file system over `/tmp`, so that what is written there is on the disk.
pub fn uncover_tmp() -> io::Result<()> {
    match unmount(TMP, UnmountFlags::DETACH) {
        // Nothing is mounted there, or there is no such directory.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    std::fs::create_dir_all(TMP)?;
    std::fs::set_permissions(TMP, std::fs::Permissions::from_mode(TMP_MODE))
}

/// Answers `close_range` with `ENOSYS` in the calling thread and in every process it starts.
///
/// Needs the right to administer the machine, and not the promise to gain no privileges: setuid programs go on working.
pub fn mask_close_range() -> io::Result<()> {
    let mut program = filter(libc::SYS_close_range as u32, libc::ENOSYS as u32);
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: `program` points to a filter that lives until the call returns; the kernel copies it.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A program for the kernel's packet filter: if the call's number is `call`, fail with `errno`, else allow.
///
/// The number is the first word of `struct seccomp_data`. The architecture is not looked at: this is a repair, no defence.
fn filter(call: u32, errno: u32) -> [libc::sock_filter; 4] {
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_hides_close_range_alone() {
        // In a thread of its own: the mask cannot be taken off again.
        let seen = std::thread::spawn(|| {
            if !rustix::process::geteuid().is_root() {
                rustix::thread::set_no_new_privs(true).unwrap();
            }
            mask_close_range().unwrap();
            // SAFETY: asks to close descriptors that are not open.
            let result = unsafe { libc::syscall(libc::SYS_close_range, 1_000_000, 1_000_001, 0) };
            (result, io::Error::last_os_error().raw_os_error(), std::fs::read("/proc/self/stat").is_ok())
        });
        assert_eq!(seen.join().unwrap(), (-1, Some(libc::ENOSYS), true));
    }
}
