//! The launcher's children: started, watched, reaped, and remembered for a while.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};

use super::protocol::Status;

/// How many ended processes are remembered.
const ENDED_MAX: usize = 4096;
/// How much of what a sandbox's first process writes is kept: the last of it, in bytes.
const TAIL_BYTES_MAX: usize = 4 * 1024;
/// How much it may write in all, in bytes. Then its output is closed, so that it cannot keep us busy for ever.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// All of it.
#[derive(Default)]
pub(super) struct Processes {
    running: RefCell<HashMap<i32, oneshot::Sender<Status>>>,
    ended: RefCell<VecDeque<(i32, Status)>>,
}

/// A program that was started.
pub(super) struct Started {
    pub pid: i32,
    /// Its end, once it is there.
    pub end: oneshot::Receiver<Status>,
    /// What it writes, and what it leaves behind.
    pub output: Output,
}

impl Processes {
    /// Starts a program with its output in a pipe. It dies with this process; what it starts does not.
    pub(super) fn start(&self, program: &Path, args: &[String]) -> io::Result<Started> {
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let parent = Some(rustix::process::getpid());
        // SAFETY: between fork and exec only prctl(2) and getppid(2) are called, which are async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                // It may have ended before that.
                if rustix::process::getppid() == parent {
                    Ok(())
                } else {
                    Err(io::ErrorKind::NotFound.into())
                }
            });
        }
        let pid = command.spawn()?.id() as i32;
        let (sender, end) = oneshot::channel();
        self.running.borrow_mut().insert(pid, sender);
        Ok(Started { pid, end, output: Output::watch(reader)? })
    }

    /// Kills a program that was started here and has not been reaped.
    pub(super) fn kill(&self, pid: i32) {
        if self.running.borrow().contains_key(&pid)
            && let Some(pid) = Pid::from_raw(pid)
        {
            // It cannot have another owner: its number is not free before it is reaped, here.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }

    /// Reaps everything that has ended.
    pub(super) fn reap(&self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            self.record(pid.as_raw_nonzero().get(), status_of(status));
        }
    }

    /// How a process ended, if it did so lately.
    pub(super) fn ended(&self, pid: i32) -> Option<Status> {
        self.ended.borrow().iter().rev().find(|(ended, _)| *ended == pid).map(|(_, status)| *status)
    }

    fn record(&self, pid: i32, status: Status) {
        if let Some(sender) = self.running.borrow_mut().remove(&pid) {
            // Nobody waits any more: fine.
            let _ = sender.send(status);
        }
        let mut ended = self.ended.borrow_mut();
        if ended.len() == ENDED_MAX {
            ended.pop_front();
        }
        ended.push_back((pid, status));
    }
}

fn status_of(status: WaitStatus) -> Status {
    match status.terminating_signal() {
        Some(signal) => Status::Signal(signal),
        None => Status::Code(status.exit_status().unwrap_or_default()),
    }
}

/// The last of what came out of a pipe.
#[derive(Clone)]
pub(super) struct Output {
    tail: Rc<RefCell<VecDeque<u8>>>,
    closed: watch::Receiver<bool>,
}

impl Output {
    fn watch(reader: PipeReader) -> io::Result<Self> {
        let receiver = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let tail = Rc::new(RefCell::new(VecDeque::new()));
        let (sender, closed) = watch::channel(false);
        tokio::task::spawn_local(drain(receiver, tail.clone(), sender));
        Ok(Self { tail, closed })
    }

    /// What it is now.
    pub(super) fn tail(&self) -> String {
        let bytes: Vec<u8> = self.tail.borrow().iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }

    /// Waits until nobody can write any more.
    pub(super) async fn closed(&mut self) {
        // An error means the drain is gone, which is as closed.
        let _ = self.closed.wait_for(|closed| *closed).await;
    }
}

async fn drain(mut pipe: pipe::Receiver, tail: Rc<RefCell<VecDeque<u8>>>, closed: watch::Sender<bool>) {
    let mut buffer = [0; TAIL_BYTES_MAX];
    let mut total = 0;
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let mut tail = tail.borrow_mut();
        tail.extend(&buffer[..count]);
        let excess = tail.len().saturating_sub(TAIL_BYTES_MAX);
        tail.drain(..excess);
        total += count;
        if total > OUTPUT_BYTES_MAX {
            break;
        }
    }
    closed.send_replace(true);
}
