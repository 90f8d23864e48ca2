//! Starts agents, and speaks with them as a node does.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tempfile::TempDir;
use wire::guest::frame::{Body, Channel, DATA_BYTES_MAX, Frame, INITIAL_CREDIT_BYTES};
use wire::guest::{
    AgentHello, Claim, Done, Error, Exec, ExecEnd, GENERATION, Head, NodeHello, Outcome, Part, ReadFile,
    Request, Shims, Status, WriteFile,
};

/// The token of every claim here.
pub const TOKEN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// Long enough for a loaded machine; what takes longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An agent in a directory of its own, ended with this value.
pub struct Agent {
    child: Child,
    /// Outside of what the agent shows.
    _home: TempDir,
    root: PathBuf,
    socket: PathBuf,
}

impl Agent {
    /// Starts one that nobody has claimed.
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (root, socket) = (home.path().join("root"), home.path().join("agent.sock"));
        fs::create_dir(&root).unwrap();
        // For whichever user the claim names.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_atoll-agent"))
            .args(["--listen", &format!("unix:{}", socket.display())])
            .arg("--root")
            .arg(&root)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the agent listens", || UnixStream::connect(&socket).is_ok());
        Self { child, _home: home, root, socket }
    }

    /// Starts one and claims it.
    pub fn claimed() -> (Self, Client) {
        Self::claimed_with(claim())
    }

    /// Starts one and claims it like this.
    pub fn claimed_with(claim: Claim) -> (Self, Client) {
        let agent = Self::start();
        let mut client = agent.connect();
        let hello = client.hello(TOKEN, Some(claim));
        assert_eq!(hello.refused, None);
        (agent, client)
    }

    /// A new connection that has not said anything.
    pub fn connect(&self) -> Client {
        Client::new(UnixStream::connect(&self.socket).unwrap())
    }

    /// A new connection that has shown the token.
    pub fn reconnect(&self) -> Client {
        let mut client = self.connect();
        assert_eq!(client.hello(TOKEN, None).refused, None);
        client
    }

    /// Where `path` is outside.
    pub fn outside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // SIGTERM, so that it takes its processes with it; it does so at once.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// An ordinary claim: whoever runs the tests, no guard.
pub fn claim() -> Claim {
    Claim {
        hostname: "sandbox".into(),
        env: BTreeMap::from([("FROM_CLAIM".into(), "yes".into())]),
        user: String::new(),
        workdir: "/work".into(),
        processes_max: 1000,
        memory_reserve_bytes: 0,
        shims: Shims::default(),
    }
}

/// A claim whose processes and files are an ordinary user's, also where root runs the tests.
pub fn claim_for_ordinary_user() -> Claim {
    let user = if rustix::process::geteuid().is_root() { "1000:1000" } else { "" };
    Claim { user: user.into(), ..claim() }
}

/// A connection.
pub struct Client {
    socket: UnixStream,
    input: BytesMut,
    next_stream: u32,
    waiting: VecDeque<Frame>,
}

/// What a process said, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub pid: u32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub end: ExecEnd,
}

impl Ran {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Client {
    fn new(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { socket, input: BytesMut::new(), next_stream: 1, waiting: VecDeque::new() }
    }

    pub fn hello(&mut self, token: &str, claim: Option<Claim>) -> AgentHello {
        self.hello_of(NodeHello { generation: GENERATION, token: token.into(), claim, dial: None })
    }

    pub fn hello_of(&mut self, hello: NodeHello) -> AgentHello {
        self.send(0, Body::Hello(serde_json::to_vec(&hello).unwrap().into()));
        match self.receive() {
            Some(Frame { stream: 0, body: Body::Hello(json) }) => serde_json::from_slice(&json).unwrap(),
            other => panic!("expected a Hello, got {other:?}"),
        }
    }

    /// The bytes themselves from here on: what has come already, and the socket.
    pub fn into_bytes(self) -> (BytesMut, UnixStream) {
        (self.input, self.socket)
    }

    pub fn send(&mut self, stream: u32, body: Body) {
        let mut bytes = BytesMut::new();
        Frame::new(stream, body).encode(&mut bytes);
        self.send_bytes(&bytes);
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Sends without minding that the agent may have hung up.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes)
    }

    pub fn open(&mut self, request: &Request) -> u32 {
        self.open_json(serde_json::to_vec(request).unwrap())
    }

    pub fn open_json(&mut self, json: Vec<u8>) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 1;
        self.send(stream, Body::Open(json.into()));
        stream
    }

    /// The next frame; `None` if the agent has hung up.
    pub fn receive(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.input).unwrap() {
                return Some(frame);
            }
            let mut piece = [0; 64 * 1024];
            match self.socket.read(&mut piece) {
                Ok(0) => return None,
                Ok(length) => self.input.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// Whether the agent has hung up.
    pub fn is_hung_up(&mut self) -> bool {
        self.receive().is_none()
    }

    /// The next frame of this stream; those of others wait.
    pub fn next(&mut self, stream: u32) -> Body {
        if let Some(index) = self.waiting.iter().position(|frame| frame.stream == stream) {
            return self.waiting.remove(index).unwrap().body;
        }
        loop {
            let frame = self.receive().expect("the agent hung up");
            if frame.stream == stream {
                return frame.body;
            }
            self.waiting.push_back(frame);
        }
    }

    /// Everything until the end of a stream, granting more as it comes.
    pub fn collect(&mut self, stream: u32) -> (Option<Head>, Vec<u8>, Vec<u8>, Outcome) {
        let (mut head, mut stdout, mut stderr) = (None, Vec::new(), Vec::new());
        loop {
            match self.next(stream) {
                Body::Head(json) => head = Some(serde_json::from_slice(&json).unwrap()),
                Body::Data(channel, bytes) => {
                    let kept = if channel == Channel::Stderr { &mut stderr } else { &mut stdout };
                    kept.extend_from_slice(&bytes);
                    self.send(stream, Body::Credit(bytes.len() as u32));
                }
                Body::End(json) => return (head, stdout, stderr, serde_json::from_slice(&json).unwrap()),
                Body::Credit(_) | Body::Eof(_) => {}
                other => panic!("an agent does not say {other:?}"),
            }
        }
    }

    pub fn try_run(&mut self, exec: Exec) -> Result<Ran, Error> {
        let stream = self.open(&Request::Exec(exec));
        self.ran(stream)
    }

    /// How the process of this stream ended.
    pub fn ran(&mut self, stream: u32) -> Result<Ran, Error> {
        match self.collect(stream) {
            (Some(Head::Process { pid }), stdout, stderr, Ok(Done::Exec(end))) => {
                Ok(Ran { pid, stdout, stderr, end })
            }
            (_, _, _, Err(error)) => Err(error),
            other => panic!("no end of a process: {other:?}"),
        }
    }

    pub fn run(&mut self, exec: Exec) -> Ran {
        self.try_run(exec).unwrap()
    }

    pub fn sh(&mut self, script: &str) -> Ran {
        self.run(shell(script))
    }

    pub fn read(&mut self, path: &str, part: Part) -> Result<Vec<u8>, Error> {
        let stream = self.open(&Request::ReadFile(ReadFile { path: path.into(), part }));
        let (head, stdout, _, outcome) = self.collect(stream);
        match outcome? {
            Done::Read { bytes } => assert_eq!(bytes, stdout.len() as u64),
            other => panic!("no end of a read: {other:?}"),
        }
        assert!(matches!(head, Some(Head::File { .. })), "{head:?}");
        Ok(stdout)
    }

    pub fn write(&mut self, path: &str, content: &[u8]) -> Result<u64, Error> {
        self.write_with_mode(path, content, None)
    }

    pub fn write_with_mode(&mut self, path: &str, content: &[u8], mode: Option<u32>) -> Result<u64, Error> {
        let stream = self.open(&Request::WriteFile(WriteFile { path: path.into(), mode }));
        let outcome = match self.feed(stream, content) {
            Ok(()) => self.collect(stream).3,
            Err(early) => *early,
        };
        match outcome? {
            Done::Write { bytes } => Ok(bytes),
            other => panic!("no end of a write: {other:?}"),
        }
    }

    /// Sends content and its end as the agent grants it. The outcome as error, if it comes before.
    pub fn feed(&mut self, stream: u32, content: &[u8]) -> Result<(), Box<Outcome>> {
        let mut credit = INITIAL_CREDIT_BYTES as usize;
        let mut left = content;
        assert!(self.waiting.iter().all(|frame| frame.stream != stream), "feed first, then collect");
        while !left.is_empty() {
            let length = left.len().min(credit).min(DATA_BYTES_MAX);
            if length == 0 {
                match self.receive().expect("the agent hung up") {
                    Frame { stream: number, body: Body::Credit(bytes) } if number == stream => {
                        credit += bytes as usize;
                    }
                    Frame { stream: number, body: Body::End(json) } if number == stream => {
                        return Err(Box::new(serde_json::from_slice(&json).unwrap()));
                    }
                    other => self.waiting.push_back(other),
                }
                continue;
            }
            self.send(stream, Body::Data(Channel::Stdin, Bytes::copy_from_slice(&left[..length])));
            (left, credit) = (&left[length..], credit - length);
        }
        self.send(stream, Body::Eof(Channel::Stdin));
        Ok(())
    }

    pub fn status(&mut self) -> Status {
        let stream = self.open(&Request::Status);
        match self.collect(stream).3 {
            Ok(Done::Status(status)) => status,
            other => panic!("no status: {other:?}"),
        }
    }
}

/// A script for the shell.
pub fn shell(script: &str) -> Exec {
    exec(wire::guest::Command::Shell(script.into()))
}

/// A program and its arguments.
pub fn argv(words: &[&str]) -> Exec {
    exec(wire::guest::Command::Argv(words.iter().map(|word| (*word).to_owned()).collect()))
}

fn exec(command: wire::guest::Command) -> Exec {
    Exec { command, cwd: None, env: BTreeMap::new(), user: None, timeout_ms: None, stdin: false, id: None }
}

/// Waits until `is_true`, with patience.
pub fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let bound = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < bound, "never seen: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process of this number exists and has not ended.
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// The children of a process, the ended ones included.
pub fn children(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The number a process wrote into a file.
pub fn pid_in(path: &Path) -> u32 {
    let mut pid = None;
    eventually("a process writes its number", || {
        pid = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        pid.is_some()
    });
    pid.unwrap()
}
