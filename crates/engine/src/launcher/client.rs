//! The node's side: asks the launcher, and starts one when there is none.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{UnixStream, unix::pipe};
use tokio::sync::Mutex;

use super::Settings;
use super::protocol::{Envelope, ExitReport, Ran, Reply, Request, VERSION, receive, send};
use crate::Error;
use crate::process::Process;

/// How long a launcher may take from its start to its socket, and to its end.
const START_WAIT: Duration = Duration::from_secs(10);
/// How long a mount may take.
const REPLY_WAIT: Duration = Duration::from_secs(30);
/// How long the end of a killed program may take.
const DROP_WAIT: Duration = Duration::from_secs(10);
/// How long the launcher may take to say that it is there, on a loaded host. One that hangs is killed.
const HELLO_WAIT: Duration = Duration::from_secs(10);
/// What the launcher may take longer than the program it runs.
const RUN_GRACE: Duration = Duration::from_secs(5);

/// The launcher of one installation, running or not.
#[derive(Debug)]
pub(crate) struct Launcher {
    command: Vec<OsString>,
    settings: Settings,
    starting: Mutex<()>,
}

impl Launcher {
    /// A launcher that is started by `command` followed by the settings.
    pub(crate) fn new(command: Vec<OsString>, settings: Settings) -> Self {
        Self { command, settings, starting: Mutex::default() }
    }

    /// Where an image, with the files of `skeleton` added, is mounted in the launcher's mount namespace.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub(crate) async fn image(&self, file: &Path, skeleton: &Path) -> Result<PathBuf, Error> {
        let request = Request::Image { file: file.to_owned(), skeleton: skeleton.to_owned() };
        match self.ask("mounting an image", request, REPLY_WAIT).await? {
            Reply::Image { directory } => Ok(directory),
            other => Err(unexpected(&other)),
        }
    }

    /// Mounts a disk for the program that [`Launcher::run`] runs next for this key.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub(crate) async fn disk(&self, key: &str, file: &Path) -> Result<(), Error> {
        let request = Request::Disk { key: key.to_owned(), file: file.to_owned() };
        match self.ask("mounting a disk", request, REPLY_WAIT).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs a program to its end, `bound` at most; `name` is what errors call it.
    ///
    /// # Errors
    /// When it failed, with the last of what it said.
    pub(crate) async fn run(
        &self,
        key: &str,
        name: &'static str,
        program: &Path,
        args: Vec<String>,
        bound: Duration,
    ) -> Result<(), Error> {
        let bound_ms = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        let request = Request::Run { key: key.to_owned(), program: program.to_owned(), args, bound_ms };
        let ran = match self.ask(name, request, bound + RUN_GRACE).await? {
            Reply::Ran(ran) => ran,
            other => return Err(unexpected(&other)),
        };
        match ran {
            Ran { status: Some(super::Status::Code(0)), .. } => Ok(()),
            Ran { status: Some(status), output } => {
                Err(Error::Program { program: name.into(), detail: format!("{status}: {output}") })
            }
            Ran { status: None, output } => Err(Error::Program {
                program: name.into(),
                detail: format!("killed after {bound:?}: {output}"),
            }),
        }
    }

    /// Kills the program that runs for this key and lets its disk go. Starts no launcher: without one there is no
    /// disk, and no program but one that is about to die of its parent's death. True if a launcher did it.
    ///
    /// # Errors
    /// When the launcher does not answer in time.
    pub(crate) async fn forget(&self, key: &str) -> Result<bool, Error> {
        let request = Request::Drop { key: key.to_owned() };
        match self.ask_running("dropping a program", request, DROP_WAIT).await? {
            None => Ok(false),
            Some(Reply::Done) => Ok(true),
            Some(other) => Err(unexpected(&other)),
        }
    }

    /// What the launcher knows of the end of a sandbox's process. Nothing, if there is no launcher.
    pub(crate) async fn exit(&self, key: &str, pid: i32) -> ExitReport {
        let request = Request::Exit { key: key.to_owned(), pid };
        match self.ask_running("asking for an exit status", request, REPLY_WAIT).await {
            Ok(Some(Reply::Exit(report))) => report,
            _ => ExitReport::default(),
        }
    }

    /// The launcher's process number, if it runs.
    pub(crate) async fn pid(&self) -> Option<i32> {
        self.connect().await.ok()?.peer_cred().ok()?.pid()
    }

    /// Ends the launcher, if it runs, and waits for that.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(crate) async fn quit(&self) -> Result<(), Error> {
        let _nobody_starts = self.starting.lock().await;
        self.quit_unlocked().await
    }

    async fn quit_unlocked(&self) -> Result<(), Error> {
        let Ok(mut stream) = self.connect().await else { return Ok(()) };
        let what = "ending the launcher";
        let pid = stream.peer_cred().map_err(Error::io(what))?.pid();
        let process = pid.map(Process::open).transpose().map_err(Error::io(what))?.flatten();
        exchange(&mut stream, Request::Quit, what, REPLY_WAIT).await?;
        match process {
            Some(process) => process.ended_within("the end of the launcher", START_WAIT).await,
            None => Ok(()),
        }
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.settings.run_dir.join("launcher.sock")).await
    }

    /// Asks the launcher that runs, starting one first if need be.
    async fn ask(&self, what: &'static str, request: Request, bound: Duration) -> Result<Reply, Error> {
        let mut stream = match self.connect().await {
            Ok(stream) => stream,
            Err(_) => self.ensure().await?,
        };
        let reply = match exchange(&mut stream, request.clone(), what, bound).await {
            Ok(Reply::Hello { .. }) => exchange(&mut self.ensure().await?, request, what, bound).await,
            reply => reply,
        };
        self.unless_hung(reply).await
    }

    /// Asks the launcher that runs, if one does.
    async fn ask_running(
        &self,
        what: &'static str,
        request: Request,
        bound: Duration,
    ) -> Result<Option<Reply>, Error> {
        let Ok(mut stream) = self.connect().await else { return Ok(None) };
        match exchange(&mut stream, request, what, bound).await {
            Ok(reply) => Ok(Some(reply)),
            // It ended while it was asked: then there is none.
            Err(Error::Io { .. }) => Ok(None),
            Err(error) => self.unless_hung(Err(error)).await,
        }
    }

    /// The reply. If it did not come in time, and the launcher says nothing at all, it is killed: sandboxes do not
    /// need it, and a new one serves the next request.
    async fn unless_hung<T>(&self, reply: Result<T, Error>) -> Result<T, Error> {
        if matches!(reply, Err(Error::Timeout { .. }))
            && let Ok(mut stream) = self.connect().await
            && let Err(Error::Timeout { .. }) =
                exchange(&mut stream, Request::Hello, "greeting the launcher", HELLO_WAIT).await
            && let Ok(Some(pid)) = stream.peer_cred().map(|owner| owner.pid())
            && let Ok(Some(process)) = Process::open(pid)
        {
            tracing::error!(pid, "the launcher hangs and is killed; sandboxes go on");
            process.kill().map_err(Error::io("killing the launcher"))?;
            process.ended_within("the end of the launcher", START_WAIT).await?;
        }
        reply
    }

    /// A connection to a launcher of our version, which replaces one of another.
    async fn ensure(&self) -> Result<UnixStream, Error> {
        let _one_at_a_time = self.starting.lock().await;
        let version = match self.connect().await {
            Ok(mut stream) => {
                exchange(&mut stream, Request::Hello, "greeting the launcher", REPLY_WAIT).await.ok()
            }
            Err(_) => None,
        };
        if !matches!(version, Some(Reply::Hello { version: VERSION })) {
            self.quit_unlocked().await?;
            self.start().await?;
        }
        self.connect().await.map_err(Error::io("connecting to the launcher"))
    }

    async fn start(&self) -> Result<(), Error> {
        let (reader, writer) = io::pipe().map_err(Error::io("making a pipe"))?;
        let child = self.spawn(writer.into()).map_err(Error::io("starting the launcher"))?;
        reap_when_it_ends(child).map_err(Error::io("starting the launcher"))?;
        let mut said = String::new();
        let ready = async {
            let mut output = pipe::Receiver::from_owned_fd(reader.into())?;
            output.read_to_string(&mut said).await
        };
        let bound = START_WAIT;
        let timeout = |_| Error::Timeout { what: "the launcher's start", bound };
        tokio::time::timeout(bound, ready)
            .await
            .map_err(timeout)?
            .map_err(Error::io("hearing the launcher"))?;
        if said == "ready\n" {
            tracing::info!(run_dir = %self.settings.run_dir.display(), "launcher started");
            return Ok(());
        }
        let detail = std::fs::read_to_string(self.log()).unwrap_or_default();
        Err(Error::Program { program: "launcher".into(), detail: detail.trim().to_owned() })
    }

    fn spawn(&self, output: OwnedFd) -> io::Result<Child> {
        let (program, args) = self.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let log = OpenOptions::new().write(true).create(true).truncate(true).open(self.log())?;
        let mut command = Command::new(program);
        command.args(args).args(self.settings.to_args());
        // It outlives this process and needs none of its secrets.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(Stdio::null()).stdout(output).stderr(log).current_dir("/").spawn()
    }

    fn log(&self) -> PathBuf {
        self.settings.run_dir.join("launcher.log")
    }
}

/// A launcher that ends before us would stay a zombie.
fn reap_when_it_ends(mut child: Child) -> io::Result<()> {
    let reap = move || {
        let _ = child.wait();
    };
    std::thread::Builder::new().name("atoll-launcher".into()).spawn(reap).map(|_| ())
}

async fn exchange(
    stream: &mut UnixStream,
    request: Request,
    what: &'static str,
    bound: Duration,
) -> Result<Reply, Error> {
    let exchange = async {
        send(stream, &Envelope { version: VERSION, request }).await?;
        receive(stream).await
    };
    let timeout = |_| Error::Timeout { what, bound };
    match tokio::time::timeout(bound, exchange).await.map_err(timeout)?.map_err(Error::io(what))? {
        Reply::Failed { message } => Err(Error::Program { program: "launcher".into(), detail: message }),
        reply => Ok(reply),
    }
}

fn unexpected(reply: &Reply) -> Error {
    Error::Program { program: "launcher".into(), detail: format!("it answered something else: {reply:?}") }
}
