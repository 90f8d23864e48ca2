//! Scripts for the shell, of any length.
//!
//! The kernel takes an argument of 128 KiB at most (`MAX_ARG_STRLEN` in
//! `execve(2)`). A longer script is put into an anonymous file, which the shell
//! is told to read through its own descriptor table.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::fs::MemfdFlags;
use wire::guest::Error;

use super::plan::SHELL;
use crate::failure;

/// A script given as an argument, in bytes: well below what the kernel takes.
const INLINE_BYTES_MAX: usize = 100 * 1024;

/// The descriptor through which the shell finds its script. One digit, for shells redirect no others.
pub const SCRIPT_FD: i32 = 9;

/// The shell's command line, and the file with the script if it needs one.
pub fn command_line(script: String) -> Result<(Vec<String>, Option<OwnedFd>), Error> {
    if script.len() <= INLINE_BYTES_MAX {
        return Ok((vec![SHELL.into(), "-c".into(), script], None));
    }
    if script.contains('\0') {
        return Err(failure::invalid("the script contains a NUL character"));
    }
    let file = store(&script).map_err(|error| failure::of("keeping the script", error))?;
    Ok((vec![SHELL.into(), format!("/proc/self/fd/{SCRIPT_FD}")], Some(file)))
}

/// The shell has its own descriptor by the time it reads the first line, which closes ours: what it starts must not inherit it.
/// On the same line as the script's own first one, so that line numbers are right.
fn store(script: &str) -> std::io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create("script", MemfdFlags::CLOEXEC)?);
    write!(file, "exec {SCRIPT_FD}<&-; ")?;
    file.write_all(script.as_bytes())?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn a_short_script_is_an_argument() {
        let (argv, file) = command_line("echo".into()).unwrap();
        assert_eq!(argv, ["/bin/sh", "-c", "echo"]);
        assert!(file.is_none());
    }

    #[test]
    fn a_long_script_is_a_file() {
        let script = "echo\n".repeat(INLINE_BYTES_MAX);
        let (argv, file) = command_line(script.clone()).unwrap();
        assert_eq!(argv, ["/bin/sh", "/proc/self/fd/9"]);
        let mut file = File::from(file.unwrap());
        file.rewind().unwrap();
        let mut stored = String::new();
        file.read_to_string(&mut stored).unwrap();
        assert_eq!(stored.strip_prefix("exec 9<&-; ").unwrap(), script);
    }
}
