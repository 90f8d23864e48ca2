//! The launcher: a small process of ours that outlives restarts of the node.
//!
//! It is the parent of every sandbox, so it reaps them and can say how they
//! ended. It mounts images and disks in a mount namespace of its own, so that
//! its end is the end of those mounts, and it gives the engine's program the
//! surroundings an old one needs ([`Settings`]). It serves one request a
//! connection on `<run_dir>/launcher.sock`; a lock file keeps a second one away.
//!
//! Sandboxes do not need it: when it is killed they run on, and a new one,
//! started at the next request, serves the next bring-up. What is lost is the
//! exit status of sandboxes it did not start itself.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use client::Launcher;
pub(crate) use protocol::{DISK_PLACEHOLDER, ExitReport, Status};

mod client;
mod namespace;
mod processes;
mod protocol;
mod server;
mod warmth;

/// How a launcher is started: what follows the program's own `launcher` argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where its socket, its lock and its mount points are.
    pub run_dir: PathBuf,
    /// Answer `membarrier` with `ENOSYS` in every program it starts: an old runsc waits for it at each start.
    pub mask_membarrier: bool,
    /// Hide `/proc/sys/net`: an old runsc takes what a new kernel shows there for the host's network.
    pub cover_proc_sys_net: bool,
}

const MASK_MEMBARRIER: &str = "--mask-membarrier";
const COVER_PROC_SYS_NET: &str = "--cover-proc-sys-net";

impl Settings {
    /// As arguments.
    fn to_args(&self) -> Vec<OsString> {
        let mut args = vec![self.run_dir.clone().into_os_string()];
        args.extend(self.mask_membarrier.then(|| MASK_MEMBARRIER.into()));
        args.extend(self.cover_proc_sys_net.then(|| COVER_PROC_SYS_NET.into()));
        args
    }

    /// From arguments; `None` if they are not such.
    fn from_args(args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut args = args.into_iter();
        let run_dir = PathBuf::from(args.next()?);
        let mut settings = Self { run_dir, mask_membarrier: false, cover_proc_sys_net: false };
        for arg in args {
            match arg.to_str()? {
                MASK_MEMBARRIER => settings.mask_membarrier = true,
                COVER_PROC_SYS_NET => settings.cover_proc_sys_net = true,
                _ => return None,
            }
        }
        settings.run_dir.is_absolute().then_some(settings)
    }
}

/// The launcher's whole life. To be called from `main` with the arguments that follow the program's hidden
/// `launcher` subcommand, before any thread is started.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(settings) = Settings::from_args(args) else {
        eprintln!("the launcher is started by the node, not by hand");
        return ExitCode::from(2);
    };
    match server::run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("launcher: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_command_line() {
        for (mask_membarrier, cover_proc_sys_net) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            let settings = Settings { run_dir: "/run/x".into(), mask_membarrier, cover_proc_sys_net };
            assert_eq!(Settings::from_args(settings.to_args()), Some(settings));
        }
    }

    #[test]
    fn other_arguments_are_refused() {
        for args in [vec![], vec!["relative/path"], vec!["/run/x", "--help"]] {
            assert_eq!(Settings::from_args(args.iter().map(OsString::from)), None, "{args:?}");
        }
    }
}
