//! The threads that start processes, so that the event loop need not wait for it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::{mpsc, oneshot};
use wire::guest::{Error, Exec, Shims};

use super::plan::Plan;
use super::reaper::{CRADLES, Exit, Reaper};
use super::spawn::{self, Stack, spawn};
use crate::failure;
use crate::memory::activity::Activity;
use crate::sandbox::{Sandbox, shims};

/// Requests waiting to be started; more wait where they came from.
const QUEUE_MAX: usize = 16;
/// Stack of a thread, in bytes.
const STACK_BYTES: usize = 256 * 1024;

/// Where requests for processes go.
pub struct Spawner(mpsc::Sender<Job>);

struct Job {
    exec: Exec,
    started: oneshot::Sender<Result<Started, Error>>,
}

/// A process that runs, or has run.
pub struct Started {
    /// Its number; also of its group and session.
    pub pid: i32,
    /// Says how it ended.
    pub exit: oneshot::Receiver<Exit>,
    /// Where to write what it reads, if it was to read anything.
    pub stdin: Option<OwnedFd>,
    /// Where to read what it writes.
    pub stdout: OwnedFd,
    /// Where to read what it complains.
    pub stderr: OwnedFd,
}

impl Spawner {
    /// Starts the threads. They wear the shims that children are to inherit, which the other threads do without.
    pub fn start(
        sandbox: &Arc<Sandbox>,
        reaper: &Arc<Reaper>,
        activity: &Arc<Activity>,
        shims: Shims,
    ) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel(QUEUE_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        for cradle in 0..CRADLES {
            let (sandbox, reaper, activity) = (sandbox.clone(), reaper.clone(), activity.clone());
            let worker =
                Worker { jobs: jobs.clone(), sandbox, reaper, activity, stack: Stack::new()?, cradle };
            let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
            std::thread::Builder::new().name("spawner".into()).stack_size(STACK_BYTES).spawn(move || {
                let prepared = prepare_thread(shims);
                let go_on = prepared.is_ok();
                // The starter waits for exactly this.
                let _ = ready.send(prepared);
                if go_on {
                    worker.work();
                }
            })?;
            is_ready.recv().map_err(io::Error::other)??;
        }
        Ok(Self(sender))
    }

    /// Has a process started. The answer comes through the receiver; dropping it kills what was started meanwhile.
    pub async fn submit(&self, exec: Exec) -> oneshot::Receiver<Result<Started, Error>> {
        let (started, receiver) = oneshot::channel();
        // The threads never end; if they did, the receiver would say so.
        let _ = self.0.send(Job { exec, started }).await;
        receiver
    }
}

/// Blocks every signal, as [`spawn`] demands, and puts the shims on.
fn prepare_thread(shims: Shims) -> io::Result<()> {
    // SAFETY: fills a set of signals on the stack and blocks them in this thread.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        let error = libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut());
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
    }
    if shims.mask_close_range { shims::mask_close_range() } else { Ok(()) }
}

struct Worker {
    jobs: Arc<Mutex<mpsc::Receiver<Job>>>,
    sandbox: Arc<Sandbox>,
    reaper: Arc<Reaper>,
    activity: Arc<Activity>,
    stack: Stack,
    cradle: usize,
}

impl Worker {
    fn work(&self) {
        while let Some(job) = self.next() {
            if job.started.is_closed() {
                continue;
            }
            if let Err(Ok(unwanted)) = job.started.send(self.start(job.exec)) {
                self.reaper.kill_group(unwanted.pid);
            }
        }
    }

    fn next(&self) -> Option<Job> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
    }

    fn start(&self, exec: Exec) -> Result<Started, Error> {
        if self.sandbox.limit.as_ref().is_some_and(|limit| limit.is_reached()) {
            return Err(spawn::process_limit());
        }
        let wants_stdin = exec.stdin;
        let plan = Plan::new(&self.sandbox, exec)?;
        let pipes = |error| failure::of("making pipes", error);
        let (stdin, to_stdin) = stdin(wants_stdin).map_err(pipes)?;
        let (stdout, to_stdout) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| pipes(error.into()))?;
        let (stderr, to_stderr) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| pipes(error.into()))?;
        let stdio = [stdin.as_raw_fd(), to_stdout.as_raw_fd(), to_stderr.as_raw_fd()];
        let cradle = self.reaper.cradle(self.cradle);
        let spawned = spawn(&plan, &self.sandbox, stdio, &self.stack, cradle);
        let pid = spawned.inspect_err(|_| self.reaper.abandon(self.cradle))?;
        let exit = self.reaper.register(self.cradle, pid);
        self.activity.start();
        Ok(Started { pid, exit, stdin: to_stdin, stdout, stderr })
    }
}

/// What the process reads, and where to write it.
fn stdin(is_wanted: bool) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    if is_wanted {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        return Ok((read, Some(write)));
    }
    Ok((File::open("/dev/null")?.into(), None))
}
