//! The real binary, started as a user starts it, on either engine.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::http::Client;
use crate::machines::Kind;
use crate::{bins, host, images};

/// A server has so long to say where it is, and to stop.
const BOUND: Duration = Duration::from_secs(60);

/// A data directory with the template in it, ready to be served. What runs there ends with it.
pub struct Site {
    dir: tempfile::TempDir,
    data: PathBuf,
    kind: Kind,
}

/// A running server.
pub struct Server {
    process: Child,
    url: String,
    ingress: String,
    key: String,
}

impl Site {
    /// A new one, for the fake engine.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn new() -> Self {
        Self::fake(Self::empty(Kind::Fake))
    }

    /// A new one, for the fake engine, whose data directory is in this one, which may be on a disk of its own.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn within(disk: &Path) -> Self {
        Self::fake(Self::empty(Kind::Fake).on(disk))
    }

    fn fake(site: Self) -> Self {
        images::nominal(&site.images()).expect("the template is put there");
        site
    }

    /// A new one, for gVisor, with the images every real test shares.
    ///
    /// # Panics
    /// When the template cannot be built, or the disk refuses.
    pub async fn gvisor() -> Self {
        Self::real(Self::empty(Kind::Gvisor)).await
    }

    /// A new one, for gVisor, whose data directory is in this one; the images are not.
    ///
    /// # Panics
    /// As [`Site::gvisor`].
    pub async fn gvisor_within(disk: &Path) -> Self {
        Self::real(Self::empty(Kind::Gvisor).on(disk)).await
    }

    async fn real(site: Self) -> Self {
        images::real().await.expect("the template is built");
        std::fs::create_dir_all(site.data().join("node")).expect("a directory");
        let shared = images::real_dir().canonicalize().expect("it is there");
        symlink(shared, site.images()).expect("a link");
        site
    }

    fn empty(kind: Kind) -> Self {
        let dir = tempfile::Builder::new().prefix("site-").tempdir_in("/var/tmp").expect("a directory");
        let open = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(dir.path(), open).expect("others may pass through it");
        Self { data: dir.path().join("data"), dir, kind }
    }

    fn on(mut self, disk: &Path) -> Self {
        self.data = disk.join("data");
        self
    }

    fn images(&self) -> PathBuf {
        self.data().join("node/images")
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// What names it on the host, once it has been served.
    ///
    /// # Panics
    /// When it has not.
    pub fn instance(&self) -> String {
        let name = std::fs::read_to_string(self.data().join("instance"));
        name.expect("it has been served").trim().to_owned()
    }

    /// Its run directory, as root's servers have it.
    pub fn run_dir(&self) -> PathBuf {
        Path::new("/run/atoll").join(self.instance())
    }

    /// What its servers said on stderr, all of them.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// `atoll serve` on it, not yet started.
    pub fn command(&self) -> Command {
        let mut command = Command::new(bins::atoll());
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command.args(match self.kind {
            Kind::Fake => ["--engine", "fake", "--unsafe-fake-engine"].as_slice(),
            Kind::Gvisor => &["--engine", "gvisor"],
        });
        if self.kind == Kind::Gvisor && std::env::var_os("ATOLL_LOG").is_none() {
            // Clients that ask thousands of things have output of their own to show.
            command.env("ATOLL_LOG", "warn");
        }
        command.arg("--data-dir").arg(self.data());
        command
    }

    /// Starts it and waits until it says where it is.
    ///
    /// # Panics
    /// When it does not.
    pub fn serve(&self, flags: &[&str]) -> Server {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = self.command();
        command.args(flags).stdout(Stdio::piped()).stderr(log);
        let mut process = command.spawn().expect("it is started");
        let output = process.stdout.take().expect("its output is piped");
        let mut lines = BufReader::new(output).lines();
        let mut said = |front: &str| loop {
            let line = lines.next().unwrap_or_else(|| panic!("it never says {front:?}: {}", self.log()));
            if let Some(rest) = line.expect("in UTF-8").trim_start().strip_prefix(front) {
                return rest.trim().to_owned();
            }
        };
        let url = said("Atoll serves");
        let ports = said("their ports answer at");
        let ingress = format!("127.0.0.1:{}", ports.rsplit(':').next().expect("a port"));
        // What else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let key = std::fs::read_to_string(self.data().join("api-key")).expect("the first key is there");
        Server { process, url, ingress, key: key.trim().to_owned() }
    }
}

/// A story leaves no machine, whether it failed half way or stopped its server, which hands machines over.
impl Drop for Site {
    fn drop(&mut self) {
        if self.data().join("instance").exists() {
            host::sweep(self);
        }
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A client of it.
    pub fn api(&self) -> Client {
        Client::new(self.url.clone(), self.key.clone())
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its ingress is: an address and a port.
    pub fn ingress(&self) -> &str {
        &self.ingress
    }

    /// Its first key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Runs `atoll` with these arguments against it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn atoll(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("atoll is started")
    }

    /// `atoll` with these arguments against it, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(bins::atoll());
        command.args(arguments).env("ATOLL_URL", &self.url).env("ATOLL_API_KEY", &self.key);
        command
    }

    /// Kills one of its processes, by its role, as a crash would.
    ///
    /// # Panics
    /// When there is none.
    pub fn kill(&self, role: &str) {
        let child = self.part(role).unwrap_or_else(|| panic!("there is no {role}"));
        kill_process(child, Signal::KILL).expect("it is killed");
    }

    /// One of its processes, by its role, if it runs.
    pub fn part(&self, role: &str) -> Option<Pid> {
        children(self.process.id()).into_iter().find(|pid| arguments_of(*pid).contains(&role.to_owned()))
    }

    /// Kills the process that keeps the others alive, as a crash would, and waits until it has ended.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn crash(mut self) {
        self.process.kill().expect("it is killed");
        self.process.wait().expect("it is ours");
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When it is not ours.
    pub fn runs(&mut self) -> bool {
        self.process.try_wait().expect("it is ours").is_none()
    }

    /// Stops it as a service manager would.
    ///
    /// # Panics
    /// When it does not stop in time, or says that something was wrong.
    pub fn stop(mut self) {
        let pid = Pid::from_raw(self.process.id() as i32).expect("a process has a number");
        kill_process(pid, Signal::TERM).expect("it is told");
        let began = Instant::now();
        loop {
            match self.process.try_wait().expect("it is ours") {
                Some(status) => return assert!(status.success(), "{status}"),
                None => assert!(began.elapsed() < BOUND, "it does not stop"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A story that failed half way leaves no server.
impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            for child in children(self.process.id()) {
                let _ = kill_process(child, Signal::KILL);
            }
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

fn children(parent: u32) -> Vec<Pid> {
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|number| Pid::from_raw(number.parse().ok()?)).collect()
}

fn arguments_of(pid: Pid) -> Vec<String> {
    let path = Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("cmdline");
    let text = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text).split('\0').map(str::to_owned).collect()
}
