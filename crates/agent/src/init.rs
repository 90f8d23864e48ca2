//! The duties of a first process, and the life of the agent from its first to its last moment.

use std::rc::Rc;

use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::Agent;
use crate::args::Address;
use crate::listen::Listener;
use crate::process::reaper::Reaped;
use crate::root::Root;
use crate::{proc, report};

/// Files are made with the modes that people expect.
const UMASK: u32 = 0o022;

/// A thread's leavings are given back to the kernel from this size on, in bytes.
const MALLOC_TRIM_BYTES: i32 = 128 * 1024;

/// Times that descendants are listed and killed before the agent ends: each time may find what was started meanwhile.
const KILL_ROUNDS_MAX: u32 = 16;

/// Whether this is the first process of its sandbox.
pub fn is_first_process() -> bool {
    std::process::id() == 1
}

/// Makes this process fit to be the first one. What cannot be had is done without.
///
/// Before anything else: nothing is open and no other thread runs.
pub fn prepare() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(UMASK));
    bound_malloc();
    close_inherited();
    if is_first_process() {
        ignore_signals();
    } else {
        // Orphans come to us either way. Refused only on kernels that have no such thing.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
    if rustix::process::geteuid().is_root() {
        // A child shares our memory until it has become its program, and by then it may be the user's.
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
}

/// Raises this process's own limit on open files as far as it may, and returns the limit it had, which is for its children.
pub fn raise_file_limit() -> Rlimit {
    let inherited = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: inherited.maximum, maximum: inherited.maximum };
    // Refused: we live with what we have.
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
    inherited
}

/// Closes what whoever started us forgot to: children of ours would get it, and its other end wait for us.
fn close_inherited() {
    let listed: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for fd in listed.into_iter().filter(|fd| *fd > libc::STDERR_FILENO) {
        // SAFETY: nothing in this process has opened anything yet; the list's own descriptor is closed already.
        unsafe { libc::close(fd) };
    }
}

/// Keeps the memory of many short-lived threads in one arena, and free memory with the kernel.
fn bound_malloc() {
    // SAFETY: `mallopt` only sets parameters, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MALLOC_TRIM_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MALLOC_TRIM_BYTES);
    }
}

/// Ignores every signal whose default would end or stop us. Linux does so for a first process; not every engine does.
fn ignore_signals() {
    let kept = [libc::SIGCHLD, libc::SIGTERM, libc::SIGKILL, libc::SIGSTOP];
    let fatal_faults =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP];
    for number in 1..=libc::SIGRTMAX() {
        if !kept.contains(&number) && !fatal_faults.contains(&number) {
            // SAFETY: SIG_IGN runs no code of ours; numbers the C library keeps for itself are refused.
            unsafe { libc::signal(number, libc::SIG_IGN) };
        }
    }
}

/// Serves nodes until SIGTERM, then ends every process of the sandbox.
pub async fn serve(address: Address, root: Root) -> Result<(), String> {
    let children = signal(SignalKind::child()).map_err(|error| format!("watching SIGCHLD: {error}"))?;
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| format!("watching SIGTERM: {error}"))?;
    let agent = Rc::new(Agent::new(root));
    let listener = Listener::bind(&address).map_err(|error| format!("listening on {address:?}: {error}"))?;
    tokio::task::spawn_local(reap(agent.clone(), children));
    tokio::select! {
        () = listener.accept_all(agent) => {}
        _ = terminate.recv() => kill_everything(),
    }
    Ok(())
}

/// The one owner of SIGCHLD: reaps every child and orphan.
async fn reap(agent: Rc<Agent>, mut children: tokio::signal::unix::Signal) {
    while children.recv().await.is_some() {
        while agent.reaper.reap_some(&agent.activity) == Reaped::More {
            tokio::task::yield_now().await;
        }
    }
    report("SIGCHLD is no longer delivered");
}

fn kill_everything() {
    for _ in 0..KILL_ROUNDS_MAX {
        let living: Vec<_> = proc::descendants().into_iter().filter(|process| process.is_alive).collect();
        if living.is_empty() {
            return;
        }
        for pid in living.iter().filter_map(|process| Pid::from_raw(process.pid)) {
            // Gone already: as good.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}
