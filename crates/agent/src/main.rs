//! The agent: the first process of every sandbox.
//!
//! It starts and reaps processes, reads and writes files, and keeps the
//! sandbox from filling its memory; a node asks for these over one byte stream
//! ([`wire::guest`]). It has never heard of HTTP, of users or of the host.
//!
//! Everything around it is hostile: processes inside may connect to its port,
//! replace any file under its hands, and fill every table. So nothing read from
//! outside is trusted to be well formed, every table has a limit, and no failure
//! panics: a panic here ends the sandbox.
//!
//! ```text
//! listen ── connection ── request ──┬── process (spawner threads, reaper) ◄── boot (what it starts with)
//!              (frames)             ├── pty     (terminals that stay)
//!                                   ├── file    (threads with the user's credentials)
//!                                   ├── renew   (what goes on from a checkpoint)
//!                                   └── status
//!                    memory (a thread that kills before the kernel does)
//! ```
//!
//! One thread runs the event loop and never blocks on the file system or on a
//! start of a process; these have threads of their own.

mod agent;
mod args;
mod awake;
mod boot;
mod connection;
mod epoll;
mod failure;
mod file;
mod init;
mod listen;
mod memory;
mod proc;
mod process;
mod pty;
mod renew;
mod request;
mod root;
mod sandbox;
mod status;
mod whoami;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            report(&message);
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line, takes up the duties of a first process, and serves until SIGTERM.
fn start() -> Result<(), String> {
    init::prepare();
    let args = args::parse(std::env::args_os().skip(1))?;
    let root = args.root()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("starting the event loop: {error}"))?;
    tokio::task::LocalSet::new().block_on(&runtime, init::serve(args.listen, root))
}

/// Says something on stderr, where the engine keeps the last lines. A closed or failing stderr is no reason to end.
fn report(message: &str) {
    let _ = writeln!(std::io::stderr(), "atoll-agent: {message}");
}
