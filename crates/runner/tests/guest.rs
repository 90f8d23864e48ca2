//! The node's side of the guest protocol with the real agent on the fake engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use engine::fake::{Behaviour, Fake};
use engine::steps::Faults;
use engine::{Machine, MachineSpec};
use futures_util::{Stream, StreamExt, stream};
use runner::guest::relay::relay;
use runner::guest::{Connection, Event, GuestCall, GuestError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::guest::frame::{Body, Channel, DATA_BYTES_MAX, Frame};
use wire::guest::{
    AgentHello, Claim, Command, Done, Error, ErrorCode, Exec, ExecEnd, GENERATION, Head, NodeHello, Outcome,
    Part, ReadFile, Request, WriteFile,
};
use wire::id::{ENTROPY_BYTES, SandboxId};
use wire::node::GUEST_STREAM;
use wire::sandbox::Resources;

const BOUND: Duration = Duration::from_secs(20);
const MIB: usize = 1024 * 1024;

/// One machine of the fake engine. At the end nothing of it is left.
struct Lab {
    dir: tempfile::TempDir,
    fake: Fake,
    machine: Machine,
}

impl Lab {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fake = engine(dir.path().join("fake"));
        let resources = Resources { vcpu: 1, memory_mib: 512, disk_mib: 100, processes_max: 1000 };
        let spec = MachineSpec { id: id(), image: PathBuf::new(), resources, from: None };
        let machine = fake.up(&spec).await.unwrap().machine;
        Self { dir, fake, machine }
    }

    /// The engine and the machine as the next process of the node finds them.
    async fn restarted(&mut self) {
        self.fake = engine(self.dir.path().join("fake"));
        self.machine = self.fake.find(&id()).await.unwrap().unwrap();
    }

    async fn connect(&self) -> Connection {
        self.greet().await.unwrap().0
    }

    async fn greet(&self) -> Result<(Connection, AgentHello), GuestError> {
        self.greet_with(&"0".repeat(64)).await
    }

    async fn greet_with(&self, token: &str) -> Result<(Connection, AgentHello), GuestError> {
        let claim = Claim {
            hostname: "lab".into(),
            env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
            user: String::new(),
            workdir: "/workspace".into(),
            processes_max: 1000,
            memory_reserve_bytes: 0,
            shims: self.fake.shims(),
        };
        let (token, claim) = (token.into(), Some(claim));
        let hello = NodeHello { generation: GENERATION, token, claim, dial: None };
        let stream = self.fake.dial_agent(&self.machine, BOUND).await.unwrap();
        Connection::open(stream, hello, BOUND).await
    }

    async fn end(self) {
        self.fake.down(&id()).await.unwrap();
        assert_eq!(self.fake.owned().await.unwrap(), []);
    }
}

impl Drop for Lab {
    /// A test that fails leaves no processes either.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let dir = self.dir.path().join("fake");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let down = move || runtime.block_on(async { engine(dir).down(&id()).await });
            let _ = std::thread::spawn(down).join();
        }
    }
}

/// In a directory that other users may enter, as a data directory is.
fn engine(dir: PathBuf) -> Fake {
    use std::os::unix::fs::PermissionsExt;
    let above = dir.parent().unwrap();
    std::fs::set_permissions(above, std::fs::Permissions::from_mode(0o711)).unwrap();
    Fake::new(dir, Faults::default(), Behaviour::default()).unwrap()
}

fn id() -> SandboxId {
    SandboxId::from_entropy([3; ENTROPY_BYTES])
}

fn shell(script: &str) -> Exec {
    let command = Command::Shell(script.into());
    Exec { command, cwd: None, env: BTreeMap::new(), user: None, timeout_ms: None, stdin: false, id: None }
}

fn shell_with_stdin(script: &str) -> Request {
    Request::Exec(Exec { stdin: true, ..shell(script) })
}

fn write_file(path: &str) -> Request {
    Request::WriteFile(WriteFile { path: path.into(), mode: None })
}

fn read_file(path: &str) -> Request {
    Request::ReadFile(ReadFile { path: path.into(), part: Part::Whole })
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.expect("it took too long")
}

/// All that a call says.
#[derive(Debug, Default)]
struct Said {
    head: Option<Head>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

async fn collect(call: &mut GuestCall) -> Result<(Said, Outcome), GuestError> {
    let mut said = Said::default();
    loop {
        match within(call.next()).await? {
            Event::Head(head) => said.head = Some(head),
            Event::Data(Channel::Stderr, bytes) => said.stderr.extend_from_slice(&bytes),
            Event::Data(_, bytes) => said.stdout.extend_from_slice(&bytes),
            Event::Eof(_) => {}
            Event::End(outcome) => return Ok((said, outcome)),
        }
    }
}

async fn run(connection: &Connection, script: &str) -> (Said, ExecEnd) {
    let mut call = connection.request(&Request::Exec(shell(script))).await.unwrap();
    match collect(&mut call).await.unwrap() {
        (said, Ok(Done::Exec(end))) => (said, end),
        (said, other) => panic!("{other:?} after {said:?}"),
    }
}

/// Waits for what `script` prints first.
async fn first_words(call: &mut GuestCall) -> Bytes {
    loop {
        match within(call.next()).await.unwrap() {
            Event::Data(_, bytes) => return bytes,
            Event::End(outcome) => panic!("{outcome:?}"),
            Event::Head(_) | Event::Eof(_) => {}
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_finished_is_hung_up_by_the_agent() {
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    tokio::time::timeout(BOUND, connection.finish()).await.expect("the agent hangs up");
    let broken = connection.broken().expect("it is gone");
    assert!(wire::causes::chain(&broken).contains("hung up"), "{broken:?}");
    lab.connect().await;
    lab.end().await;
}

#[tokio::test]
async fn a_process_runs_and_its_end_is_told() {
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    let (said, end) = run(&connection, "echo out; echo err >&2; exit 7").await;
    assert!(matches!(said.head, Some(Head::Process { pid }) if pid > 0));
    assert_eq!((&said.stdout[..], &said.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!((end.exit_code, end.signal), (Some(7), None));
    let (_, end) = run(&connection, "kill -9 $$").await;
    assert_eq!((end.exit_code, end.signal), (None, Some(9)));
    lab.end().await;
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_written() {
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    let content: Bytes = (0..3 * MIB).map(|n| (n % 251) as u8).collect();
    let mut call = connection.request(&write_file("deep/er/file")).await.unwrap();
    within(call.send(content.clone())).await.unwrap();
    call.eof();
    let (_, outcome) = collect(&mut call).await.unwrap();
    assert_eq!(outcome, Ok(Done::Write { bytes: content.len() as u64 }));
    let mut call = connection.request(&read_file("/workspace/deep/er/file")).await.unwrap();
    let (said, outcome) = collect(&mut call).await.unwrap();
    assert_eq!(said.head, Some(Head::File { size_bytes: content.len() as u64 }));
    assert_eq!(outcome, Ok(Done::Read { bytes: content.len() as u64 }));
    assert!(said.stdout == content, "the content differs");
    let missing = connection.ask(&read_file("missing")).await;
    assert!(
        matches!(missing, Err(GuestError::Failed(Error { code: ErrorCode::NotFound, .. }))),
        "{missing:?}"
    );
    lab.end().await;
}

#[tokio::test]
async fn many_processes_at_once_do_not_mix_their_outputs() {
    const AT_ONCE: usize = 64;
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    let runs = (0..AT_ONCE).map(|n| {
        let connection = connection.clone();
        async move {
            let script =
                format!("i=0; while [ $i -lt 200 ]; do echo {n}; echo e{n} >&2; i=$((i+1)); done; exit {n}");
            (n, run(&connection, &script).await)
        }
    });
    for (n, (said, end)) in futures_util::future::join_all(runs).await {
        assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("{n}\n").repeat(200));
        assert_eq!(String::from_utf8(said.stderr).unwrap(), format!("e{n}\n").repeat(200));
        assert_eq!(end.exit_code, Some(n as i32));
    }
    lab.end().await;
}

#[tokio::test]
async fn a_reader_that_sleeps_holds_up_only_its_own_process() {
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    let mut asleep =
        connection.request(&Request::Exec(shell("head -c 8000000 /dev/zero; echo done"))).await.unwrap();
    for _ in 0..20 {
        let (said, _) = run(&connection, "echo quick").await;
        assert_eq!(said.stdout, b"quick\n");
    }
    let (said, _) = collect(&mut asleep).await.unwrap();
    assert_eq!(said.stdout.len(), 8_000_000 + b"done\n".len());
    lab.end().await;
}

#[tokio::test]
async fn a_machine_that_dies_fails_what_runs_and_invents_no_end() {
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    let mut call = connection.request(&Request::Exec(shell("echo started; sleep 1000"))).await.unwrap();
    assert_eq!(first_words(&mut call).await, "started\n");
    lab.fake.kill(&id()).await.unwrap();
    within(connection.closed()).await;
    let failed = collect(&mut call).await;
    assert!(matches!(failed, Err(GuestError::Broken(_))), "{failed:?}");
    lab.end().await;
}

#[tokio::test]
async fn a_machine_that_hangs_is_noticed_by_a_ping() {
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    connection.ping(BOUND).await.unwrap();
    lab.fake.hang(&id()).unwrap();
    let silent = connection.ping(Duration::from_millis(100)).await;
    assert!(matches!(silent, Err(GuestError::Timeout { .. })), "{silent:?}");
    assert!(connection.broken().is_none());
    lab.end().await;
}

#[tokio::test]
async fn dropping_a_call_kills_its_process() {
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    let mut call = connection.request(&Request::Exec(shell("echo started; sleep 1000"))).await.unwrap();
    first_words(&mut call).await;
    assert!(connection.ping(BOUND).await.unwrap().processes >= 1);
    drop(call);
    within(async {
        while connection.ping(BOUND).await.unwrap().processes > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    lab.end().await;
}

#[tokio::test]
async fn a_cancelled_process_still_tells_its_end() {
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    let mut call = connection.request(&Request::Exec(shell("echo started; sleep 1000"))).await.unwrap();
    first_words(&mut call).await;
    call.cancel();
    let (_, outcome) = collect(&mut call).await.unwrap();
    match outcome {
        Ok(Done::Exec(end)) => {
            assert_eq!((end.exit_code, end.cause), (None, wire::guest::ExecCause::Cancelled))
        }
        Err(error) => assert_eq!(error.code, ErrorCode::Cancelled),
        other => panic!("{other:?}"),
    }
    lab.end().await;
}

#[tokio::test]
async fn a_restarted_node_goes_on_with_the_same_agent() {
    let mut lab = Lab::start().await;
    let (connection, hello) = lab.greet().await.unwrap();
    assert!(hello.claimed_now);
    run(&connection, "echo kept > note").await;
    drop(connection);
    lab.restarted().await;
    let (connection, hello) = lab.greet().await.unwrap();
    assert!(!hello.claimed_now);
    assert_eq!(run(&connection, "cat note").await.0.stdout, b"kept\n");
    let stranger = lab.greet_with(&"1".repeat(64)).await;
    assert!(matches!(stranger, Err(GuestError::Refused(_))), "{:?}", stranger.err());
    lab.end().await;
}

// Relayed calls.

type Chunk = Result<Bytes, &'static str>;

fn frame(body: Body) -> Bytes {
    let mut out = BytesMut::new();
    Frame::new(GUEST_STREAM, body).encode(&mut out);
    out.freeze()
}

fn open(request: &Request) -> Chunk {
    Ok(frame(Body::Open(serde_json::to_vec(request).unwrap().into())))
}

/// So many bytes of input, made as they are asked for, in chunks that do not respect frames.
fn input(bytes: usize) -> impl Stream<Item = Chunk> + Send {
    let data = frame(Body::Data(Channel::Stdin, Bytes::from(vec![b'x'; DATA_BYTES_MAX])));
    let frames = stream::iter((0..bytes / DATA_BYTES_MAX).map(move |_| data.clone()));
    frames.flat_map(|frame| stream::iter([Ok(frame.slice(..7)), Ok(frame.slice(7..))]))
}

fn eof() -> Chunk {
    Ok(frame(Body::Eof(Channel::Stdin)))
}

/// The bytes of stdout and the outcome of a relayed answer.
async fn relayed(
    connection: &Connection,
    body: impl Stream<Item = Chunk> + Send + 'static,
) -> (usize, Outcome) {
    let mut pieces = relay(body, connection.clone(), async || None);
    let (mut bytes, mut buffer, mut outcome) = (0, BytesMut::new(), None);
    while let Some(piece) = within(pieces.next()).await {
        let piece = piece.unwrap();
        assert!(piece.len() < 4 * DATA_BYTES_MAX, "a piece of {} bytes", piece.len());
        buffer.extend_from_slice(&piece);
        while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
            match frame.body {
                Body::Data(_, data) => bytes += data.len(),
                Body::End(json) => outcome = Some(serde_json::from_slice(&json).unwrap()),
                _ => {}
            }
        }
    }
    (bytes, outcome.expect("no End"))
}

/// The most memory this process ever held, in KiB (`VmHWM`, `proc_pid_status(5)`).
fn peak_memory_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn bodies_of_any_size_pass_in_both_directions_in_constant_memory() {
    const SIZE: usize = 64 * MIB;
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    let before = peak_memory_kib();
    let body = stream::iter([open(&shell_with_stdin("cat"))]).chain(input(SIZE)).chain(stream::iter([eof()]));
    let (bytes, outcome) = relayed(&connection, body).await;
    assert_eq!(bytes, SIZE);
    assert!(matches!(outcome, Ok(Done::Exec(ExecEnd { exit_code: Some(0), .. }))), "{outcome:?}");
    let body = stream::iter([open(&write_file("big"))]).chain(input(SIZE)).chain(stream::iter([eof()]));
    assert_eq!(relayed(&connection, body).await.1, Ok(Done::Write { bytes: SIZE as u64 }));
    let (bytes, _) = relayed(&connection, stream::iter([open(&read_file("big"))])).await;
    assert_eq!(bytes, SIZE);
    // Other tests run beside this one and need some too; what passed was four times as much.
    let grown = peak_memory_kib().saturating_sub(before);
    assert!(grown < 48 * 1024, "{grown} KiB more memory");
    lab.end().await;
}

#[tokio::test]
async fn a_file_whose_content_breaks_off_does_not_appear() {
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    let whole =
        stream::iter([open(&write_file("f")), Ok(frame(Body::Data(Channel::Stdin, "old".into()))), eof()]);
    assert_eq!(relayed(&connection, whole).await.1, Ok(Done::Write { bytes: 3 }));
    let reset: Chunk = Err("connection reset");
    for last in [Some(reset), None] {
        let body = stream::iter([open(&write_file("f"))]).chain(input(MIB)).chain(stream::iter(last));
        let (_, outcome) = relayed(&connection, body).await;
        assert!(matches!(&outcome, Err(error) if error.code == ErrorCode::Cancelled), "{outcome:?}");
    }
    assert_eq!(run(&connection, "cat f; ls -A").await.0.stdout, b"oldf\n");
    lab.end().await;
}

#[tokio::test]
async fn dropping_a_relayed_answer_kills_its_process() {
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    let body = stream::iter([open(&shell_with_stdin("echo started; sleep 1000"))]).chain(stream::pending());
    let mut answer = relay(body, connection.clone(), async || None);
    within(answer.next()).await.unwrap().unwrap();
    drop(answer);
    within(async {
        while connection.ping(BOUND).await.unwrap().processes > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    lab.end().await;
}

/// Over HTTP as control speaks it: the answer begins while the body is still open, and who hangs up cancels.
#[tokio::test]
async fn a_relayed_call_is_full_duplex_over_http_and_ends_with_its_caller() {
    use axum::body::Body as HttpBody;
    let lab = Lab::start().await;
    let connection = lab.connect().await;
    let relaying = connection.clone();
    let handler = move |body: HttpBody| {
        let answer = relay(body.into_data_stream(), relaying.clone(), async || None);
        async move { HttpBody::from_stream(answer) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().route("/guest", axum::routing::post(handler));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let mut caller = tokio::net::TcpStream::connect(address).await.unwrap();
    caller
        .write_all(b"POST /guest HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    send_chunk(&mut caller, &open(&shell_with_stdin("cat")).unwrap()).await;
    for said in ["ping\n", "pong\n"] {
        send_chunk(&mut caller, &frame(Body::Data(Channel::Stdin, said.into()))).await;
        read_until(&mut caller, said.as_bytes()).await;
    }
    assert!(connection.ping(BOUND).await.unwrap().processes >= 1);
    drop(caller);
    within(async {
        while connection.ping(BOUND).await.unwrap().processes > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.abort();
    lab.end().await;
}

async fn send_chunk(caller: &mut tokio::net::TcpStream, bytes: &[u8]) {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    caller.write_all(&chunk).await.unwrap();
}

async fn read_until(caller: &mut tokio::net::TcpStream, wanted: &[u8]) {
    let mut read = Vec::new();
    while !read.windows(wanted.len()).any(|window| window == wanted) {
        assert!(within(caller.read_buf(&mut read)).await.unwrap() > 0, "the answer ended: {read:?}");
    }
}
