//! The launcher's loop: requests in, replies out, children reaped.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FlockOperation;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore};
use tokio::task::LocalSet;

use super::processes::{Output, Processes};
use super::protocol::{DISK_PLACEHOLDER, Envelope, ExitReport, Ran, Reply, Request, VERSION, receive, send};
use super::{Settings, namespace, warmth};
use crate::mounts;

/// Requests at once; more wait in the socket's queue.
const REQUESTS_MAX: usize = 256;
/// How long to wait when connections cannot be accepted.
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(100);
/// How long a client may take to say what it wants.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
/// How long the last words of a program that failed are waited for.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(200);

/// Everything from the first system call to the end.
///
/// # Errors
/// When another launcher holds the lock, or the kernel refuses something.
pub(super) fn run(settings: &Settings) -> io::Result<()> {
    let _lock = lock(&settings.run_dir)?;
    // Already a leader of its session if somebody started it so.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    namespace::enter(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let launcher = Rc::new(Server { run_dir: settings.run_dir.clone(), ..Server::default() });
    LocalSet::new().block_on(&runtime, launcher.serve())
}

/// The lock is held until this process ends, however it ends: children do not inherit it.
fn lock(run_dir: &Path) -> io::Result<File> {
    let path = run_dir.join("launcher.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

#[derive(Default)]
struct Server {
    run_dir: PathBuf,
    processes: Processes,
    works: RefCell<HashMap<String, Work>>,
    mounting: tokio::sync::Mutex<()>,
    warmer: warmth::Warmer,
    quit: Notify,
}

/// What is there for one key.
#[derive(Default)]
struct Work {
    /// The mount of the disk, until the program has run.
    disk: Option<Rc<OwnedFd>>,
    /// As long: it will want a control group.
    warmth: Option<warmth::Warmth>,
    /// The program that runs.
    running: Option<Running>,
    /// What the program and its descendants write.
    output: Option<Output>,
}

struct Running {
    pid: i32,
    done: Rc<Cell<bool>>,
    finished: Rc<Notify>,
}

impl Server {
    async fn serve(self: Rc<Self>) -> io::Result<()> {
        let socket = self.run_dir.join("launcher.sock");
        // Ours: we hold the lock, so whoever made it has ended.
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        let mut children = signal(SignalKind::child())?;
        announce()?;
        let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
        loop {
            tokio::select! {
                _ = children.recv() => self.processes.reap(),
                () = self.quit.notified() => return fs::remove_file(&socket),
                accepted = accept(&listener, &requests) => {
                    let (stream, permit) = accepted?;
                    let server = self.clone();
                    tokio::task::spawn_local(async move {
                        // The client may have gone; its request is done all the same.
                        let _ = server.answer(stream).await;
                        drop(permit);
                    });
                }
            }
        }
    }

    async fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        let envelope: serde_json::Value =
            tokio::time::timeout(REQUEST_WAIT, receive(&mut stream)).await.map_err(io::Error::from)??;
        let envelope = Envelope::parse(envelope);
        let quit = matches!(envelope, Parsed::Ours(Request::Quit) | Parsed::Quit);
        let reply = match envelope {
            Parsed::Ours(request) => match self.carry_out_for(&stream, request).await {
                Some(reply) => reply,
                None => return Ok(()),
            },
            Parsed::Quit => Reply::Done,
            Parsed::Foreign => Reply::Hello { version: VERSION },
        };
        let sent = send(&mut stream, &reply).await;
        if quit {
            self.quit.notify_one();
        }
        sent
    }

    /// Carries a request out for a client that waits for it. What makes something for a client that has gone is
    /// undone: the next node knows nothing of it, and has cleaned up already.
    async fn carry_out_for(&self, client: &UnixStream, request: Request) -> Option<Reply> {
        let key = match &request {
            Request::Disk { key, .. } | Request::Run { key, .. } => key.clone(),
            _ => return Some(self.carry_out(request).await),
        };
        if has_gone(client) {
            return None;
        }
        let mut work = pin!(self.carry_out(request));
        tokio::select! {
            reply = &mut work => return Some(reply),
            () = gone(client) => {}
        }
        self.kill(&key);
        let _ = work.await;
        self.works.borrow_mut().remove(&key);
        None
    }

    async fn carry_out(&self, request: Request) -> Reply {
        let result = match request {
            Request::Hello => Ok(Reply::Hello { version: VERSION }),
            Request::Image { file, skeleton } => {
                self.image(file, skeleton).await.map(|directory| Reply::Image { directory })
            }
            Request::Disk { key, file } => self.disk(key, file).await.map(|()| Reply::Done),
            Request::Run { key, program, args, bound_ms } => {
                self.run(&key, &program, args, Duration::from_millis(bound_ms)).await.map(Reply::Ran)
            }
            Request::Drop { key } => {
                self.forget(&key).await;
                Ok(Reply::Done)
            }
            Request::Exit { key, pid } => Ok(Reply::Exit(self.exit(&key, pid))),
            Request::Quit => Ok(Reply::Done),
        };
        result.unwrap_or_else(|error| Reply::Failed { message: error.to_string() })
    }

    /// Where an image is mounted. Named after the files themselves, so that another file of the same name is another
    /// image.
    async fn image(&self, file: PathBuf, skeleton: PathBuf) -> io::Result<PathBuf> {
        let _one_at_a_time = self.mounting.lock().await;
        let name = format!("{}-{}", identity(&file)?, identity(&skeleton)?);
        let place = self.run_dir.join("images").join(name);
        let root = place.join("root");
        if fs::metadata(&root).is_ok_and(|known| self.is_mounted(&known)) {
            return Ok(root);
        }
        blocking(move || mounts::image(&file, &skeleton, &place)).await?;
        Ok(root)
    }

    fn is_mounted(&self, directory: &fs::Metadata) -> bool {
        fs::metadata(&self.run_dir).is_ok_and(|host| host.dev() != directory.dev())
    }

    async fn disk(&self, key: String, file: PathBuf) -> io::Result<()> {
        let warmth = self.warmer.keep();
        let mount = blocking(move || mounts::ext4(&file)).await?;
        let mut works = self.works.borrow_mut();
        let work = works.entry(key).or_default();
        (work.disk, work.warmth) = (Some(Rc::new(mount)), Some(warmth));
        Ok(())
    }

    async fn run(&self, key: &str, program: &Path, args: Vec<String>, bound: Duration) -> io::Result<Ran> {
        let disk = self.works.borrow().get(key).and_then(|work| work.disk.clone());
        let args = fill_in(args, disk.as_deref())?;
        let mut started = self.processes.start(program, &args)?;
        let running = Running { pid: started.pid, done: Rc::default(), finished: Rc::default() };
        let (done, finished) = (running.done.clone(), running.finished.clone());
        {
            let mut works = self.works.borrow_mut();
            let work = works.entry(key.to_owned()).or_default();
            work.running = Some(running);
            work.output = Some(started.output.clone());
        }
        let status = match tokio::time::timeout(bound, &mut started.end).await {
            Ok(status) => status.ok(),
            Err(_) => {
                self.processes.kill(started.pid);
                let _ = (&mut started.end).await;
                None
            }
        };
        if !matches!(status, Some(super::Status::Code(0))) {
            let _ = tokio::time::timeout(LAST_WORDS_WAIT, started.output.closed()).await;
        }
        if let Some(work) = self.works.borrow_mut().get_mut(key) {
            work.running = None;
            // The program has opened what it needs; from here on the sandbox alone keeps the disk.
            (work.disk, work.warmth) = (None, None);
        }
        done.set(true);
        finished.notify_waiters();
        Ok(Ran { status, output: started.output.tail() })
    }

    fn kill(&self, key: &str) {
        if let Some(running) = self.works.borrow().get(key).and_then(|work| work.running.as_ref()) {
            self.processes.kill(running.pid);
        }
    }

    async fn forget(&self, key: &str) {
        let running = self.works.borrow_mut().remove(key).and_then(|work| work.running);
        if let Some(running) = running {
            self.processes.kill(running.pid);
            let finished = running.finished.notified();
            if !running.done.get() {
                finished.await;
            }
        }
    }

    fn exit(&self, key: &str, pid: i32) -> ExitReport {
        // Its end may have been seen by others before our signal came.
        self.processes.reap();
        let works = self.works.borrow();
        let output =
            works.get(key).and_then(|work| work.output.as_ref()).map(Output::tail).unwrap_or_default();
        ExitReport { status: self.processes.ended(pid), output }
    }
}

/// A request, as far as this version understands it.
enum Parsed {
    Ours(Request),
    /// From another version, and the one thing every version can ask.
    Quit,
    Foreign,
}

impl Envelope {
    fn parse(value: serde_json::Value) -> Parsed {
        let wants_quit = value.get("request").is_some_and(|request| request == "quit");
        match serde_json::from_value::<Self>(value) {
            Ok(envelope) if envelope.version == VERSION => Parsed::Ours(envelope.request),
            _ if wants_quit => Parsed::Quit,
            _ => Parsed::Foreign,
        }
    }
}

/// Waits until a client that has said all it wants hangs up.
async fn gone(client: &UnixStream) {
    // An error is as good as a hang-up.
    while client.readable().await.is_ok() && !has_gone(client) {}
}

/// Whether a client that has said all it wants has hung up.
fn has_gone(client: &UnixStream) -> bool {
    match client.try_read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

async fn accept(
    listener: &UnixListener,
    requests: &Arc<Semaphore>,
) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let permit = requests.clone().acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok((stream, permit)),
            // No descriptors left, mostly: ours to wait for, as every machine needs us.
            Err(_) => tokio::time::sleep(ACCEPT_RETRY_WAIT).await,
        }
    }
}

/// Tells whoever started us, by a line on our output, that the socket is there; then lets go of that output.
fn announce() -> io::Result<()> {
    let mut output = io::stdout();
    output.write_all(b"ready\n")?;
    output.flush()?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(&null)?)
}

/// Device and number: what a file is, whatever it is called.
fn identity(file: &Path) -> io::Result<String> {
    let known = fs::metadata(file)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
    Ok(format!("{:x}-{:x}", known.dev(), known.ino()))
}

/// Puts the disk's place into the arguments that ask for it.
fn fill_in(args: Vec<String>, disk: Option<&OwnedFd>) -> io::Result<Vec<String>> {
    let place = disk.map(|mount| format!("/proc/{}/fd/{}", std::process::id(), mount.as_raw_fd()));
    let fill = |arg: String| match (&place, arg.contains(DISK_PLACEHOLDER)) {
        (_, false) => Ok(arg),
        (Some(place), true) => Ok(arg.replace(DISK_PLACEHOLDER, place)),
        (None, true) => Err(io::Error::new(io::ErrorKind::NotFound, "no disk was prepared for this sandbox")),
    };
    args.into_iter().map(fill).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_can_ask_this_one_to_quit_and_nothing_else() {
        let parse = |json: &str| Envelope::parse(serde_json::from_str(json).unwrap());
        assert!(matches!(parse(r#"{"version":999,"request":"quit"}"#), Parsed::Quit));
        assert!(matches!(parse(r#"{"version":999,"request":"hello"}"#), Parsed::Foreign));
        assert!(matches!(parse(r#"{"version":999,"request":{"new":{"x":1}}}"#), Parsed::Foreign));
        assert!(matches!(parse(r#"{"unknown":true}"#), Parsed::Foreign));
        let ours = serde_json::to_string(&Envelope { version: VERSION, request: Request::Hello }).unwrap();
        assert!(matches!(parse(&ours), Parsed::Ours(Request::Hello)));
    }

    #[test]
    fn an_argument_that_wants_a_disk_gets_one_or_an_error() {
        let args = || vec!["--plain".to_owned(), format!("--x=dir={DISK_PLACEHOLDER}")];
        assert!(fill_in(args(), None).is_err());
        let disk = OwnedFd::from(File::open("/").unwrap());
        let filled = fill_in(args(), Some(&disk)).unwrap();
        assert_eq!(filled[0], "--plain");
        assert!(
            filled[1].starts_with("--x=dir=/proc/") && Path::new(&filled[1]["--x=dir=".len()..]).exists()
        );
    }
}
