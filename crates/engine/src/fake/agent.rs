//! The agent's process: its start, and how it is known again.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::layout::Place;
use super::processes::Seen;
use crate::{Error, process};

/// What stands before the socket's path in the agent's command line.
pub(super) const LISTEN_PREFIX: &str = "unix:";

/// Starts the agent, in a process group of its own so that no terminal's Ctrl-C reaches it.
pub(super) fn start(place: &Place) -> Result<Seen, Error> {
    let log = File::create(place.log()).map_err(Error::io(format!("making {}", place.log().display())))?;
    let mut command = Command::new(place.agent());
    command.arg("--listen").arg(listen_argument(place)).arg("--root").arg(place.root());
    command.current_dir(place.root()).env_clear().process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    if let Some(uid) = place.uid() {
        command.uid(uid).gid(uid);
    }
    let program = || place.agent().display().to_string();
    let child = command.spawn().map_err(Error::io(format!("starting {}", program())))?;
    // Nobody has reaped it, so its number is still its own even if it has ended.
    let pid = i32::try_from(child.id()).ok();
    pid.and_then(Seen::of)
        .ok_or_else(|| Error::Program { program: program(), detail: "no such process".into() })
}

/// Whether this process is the machine's agent.
pub(super) fn is_agent_of(place: &Place, seen: &Seen) -> bool {
    let arguments = process::arguments(seen.pid);
    arguments.get(1).is_some_and(|flag| flag == "--listen")
        && arguments.get(2).is_some_and(|value| *value == listen_argument(place))
}

fn listen_argument(place: &Place) -> String {
    format!("{LISTEN_PREFIX}{}", place.socket().display())
}
