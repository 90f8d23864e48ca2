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
use super::spawn::{self, Stack, Stdio, spawn};
use crate::failure;
use crate::memory::activity::Activity;
use crate::pty::pair::Pair;
use crate::pty::screen::Size;
use crate::sandbox::{Sandbox, shims};

/// Requests waiting to be started; more wait where they came from.
const QUEUE_MAX: usize = 16;
/// Stack of a thread, in bytes.
const STACK_BYTES: usize = 256 * 1024;

/// Where requests for processes go.
pub struct Spawner(mpsc::Sender<Job>);

enum Job {
    Pipes(Exec, oneshot::Sender<Result<Started, Error>>),
    Terminal(Seat, oneshot::Sender<Result<Seated, Error>>),
}

/// A program to start on a terminal of its own.
pub struct Seat {
    /// What, where, as whom; without stdin.
    pub exec: Exec,
    /// The user's login shell instead of the command.
    pub is_login: bool,
    /// How large the terminal is.
    pub size: Size,
}

/// A program that runs on a terminal, or has run.
pub struct Seated {
    /// Its number; also of its group and session.
    pub pid: i32,
    /// Says how it ended.
    pub exit: oneshot::Receiver<Exit>,
    /// Our end of the terminal.
    pub terminal: OwnedFd,
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
        let _ = self.0.send(Job::Pipes(exec, started)).await;
        receiver
    }

    /// The same on a terminal.
    pub async fn seat(&self, seat: Seat) -> oneshot::Receiver<Result<Seated, Error>> {
        let (seated, receiver) = oneshot::channel();
        let _ = self.0.send(Job::Terminal(seat, seated)).await;
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
            let unwanted = match job {
                Job::Pipes(exec, started) => answer(started, || self.start(exec)).map(|started| started.pid),
                Job::Terminal(seat, seated) => answer(seated, || self.seat(seat)).map(|seated| seated.pid),
            };
            if let Some(pid) = unwanted {
                self.reaper.kill_group(pid);
            }
        }
    }

    fn next(&self) -> Option<Job> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
    }

    fn start(&self, exec: Exec) -> Result<Started, Error> {
        self.check_limit()?;
        let wants_stdin = exec.stdin;
        let plan = Plan::new(&self.sandbox, exec)?;
        let pipes = |error| failure::of("making pipes", error);
        let (stdin, to_stdin) = stdin(wants_stdin).map_err(pipes)?;
        let (stdout, to_stdout) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| pipes(error.into()))?;
        let (stderr, to_stderr) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| pipes(error.into()))?;
        let stdio = Stdio::Three([stdin.as_raw_fd(), to_stdout.as_raw_fd(), to_stderr.as_raw_fd()]);
        let (pid, exit) = self.spawn(&plan, stdio)?;
        Ok(Started { pid, exit, stdin: to_stdin, stdout, stderr })
    }

    fn seat(&self, Seat { exec, is_login, size }: Seat) -> Result<Seated, Error> {
        self.check_limit()?;
        let plan = if is_login { Plan::login(&self.sandbox, exec) } else { Plan::new(&self.sandbox, exec) }?;
        let pair = Pair::open(size, &plan.identity);
        let pair = pair.map_err(|error| failure::of("making a terminal", error))?;
        let (pid, exit) = self.spawn(&plan, Stdio::Terminal(pair.theirs.as_raw_fd()))?;
        Ok(Seated { pid, exit, terminal: pair.ours })
    }

    fn check_limit(&self) -> Result<(), Error> {
        let is_reached = self.sandbox.limit.as_ref().is_some_and(|limit| limit.is_reached());
        if is_reached { Err(spawn::process_limit()) } else { Ok(()) }
    }

    fn spawn(&self, plan: &Plan, stdio: Stdio) -> Result<(i32, oneshot::Receiver<Exit>), Error> {
        let cradle = self.reaper.cradle(self.cradle);
        let spawned = spawn(plan, &self.sandbox, stdio, &self.stack, cradle);
        let pid = spawned.inspect_err(|_| self.reaper.abandon(self.cradle))?;
        let exit = self.reaper.register(self.cradle, pid);
        self.activity.start();
        Ok((pid, exit))
    }
}

/// Does what somebody waits for, and returns it if nobody does any more.
fn answer<T>(
    asked: oneshot::Sender<Result<T, Error>>,
    start: impl FnOnce() -> Result<T, Error>,
) -> Option<T> {
    if asked.is_closed() { None } else { asked.send(start()).err()?.ok() }
}

/// What the process reads, and where to write it.
fn stdin(is_wanted: bool) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    if is_wanted {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        return Ok((read, Some(write)));
    }
    Ok((File::open("/dev/null")?.into(), None))
}
