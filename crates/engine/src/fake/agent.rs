//! The agent's process: its start, and how it is known again.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::layout::Place;
use super::processes::Seen;
use crate::{Error, process};

/// What stands before the socket's path in the agent's command line.
pub(super) const LISTEN_PREFIX: &str = "unix:";

/// How long the agent's binary may be busy.
const BUSY_BOUND: Duration = Duration::from_secs(5);
/// Between two tries to start it meanwhile.
const BUSY_RETRY: Duration = Duration::from_millis(1);

/// Starts the agent, in a process group of its own so that no terminal's Ctrl-C reaches it.
///
/// Nothing is awaited once it runs.
pub(super) async fn start(place: &Place) -> Result<Seen, Error> {
    let log = File::create(place.log()).map_err(Error::io(format!("making {}", place.log().display())))?;
    let mut command = Command::new(place.agent());
    command.arg("--listen").arg(listen_argument(place)).arg("--root").arg(place.root());
    command.current_dir(place.root()).env_clear().process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    if let Some(uid) = place.uid() {
        command.uid(uid).gid(uid);
    }
    let program = || place.agent().display().to_string();
    let child = spawn(&mut command).await.map_err(Error::io(format!("starting {}", program())))?;
    // Nobody has reaped it, so its number is still its own even if it has ended.
    let pid = i32::try_from(child.id()).ok();
    pid.and_then(Seen::of)
        .ok_or_else(|| Error::Program { program: program(), detail: "no such process".into() })
}

/// Starts a program that may just have been written.
///
/// Where a process starts others from several threads, a child of one can hold
/// for a moment, until it is its program, what another was writing; Linux
/// refuses to run a file that somebody could write to (`ETXTBSY`).
async fn spawn(command: &mut Command) -> io::Result<Child> {
    let given_up = Instant::now() + BUSY_BOUND;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < given_up => {
                tokio::time::sleep(BUSY_RETRY).await;
            }
            spawned => return spawned,
        }
    }
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
