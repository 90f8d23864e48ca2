//! Runs `true` in a sandbox again and again, in turn over the HTTP API and by asking its agent directly, and prints
//! how long each took. `bench/exec.py` starts it; it has to be root, to enter the sandbox's policy namespace.
//!
//! Both clients do as little as they can: HTTP is written and read by hand on connections that stay open, and the
//! agent is asked as the node asks it, all at once over one connection.

use std::error::Error;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use engine::Stream;
use runner::guest::Connection;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wire::guest::{AGENT_TCP_PORT, Command, Done, Exec, GENERATION, NodeHello, Request};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Where the agent listens, in every sandbox.
const INSIDE: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
/// How long the agent may take to greet.
const GREETING_BOUND: Duration = Duration::from_secs(10);
/// Rounds that are not counted.
const WARM_UP_ROUNDS: usize = 5;

/// What `bench/exec.py` says, as JSON in the first argument.
#[derive(Deserialize)]
struct Orders {
    /// The API, `host:port`.
    api: String,
    /// A key for it.
    key: String,
    /// Which sandbox.
    sandbox: String,
    /// The pinned policy namespace of it.
    namespace: String,
    /// The node's record of it, which has the agent's token.
    record: String,
    /// Commands at once.
    at_once: usize,
    /// How often each way.
    rounds: usize,
}

/// One connection to the API, and what is asked on it.
struct Http {
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Http {
    async fn open(orders: &Orders) -> Result<Self> {
        let stream = TcpStream::connect(&orders.api).await?;
        stream.set_nodelay(true)?;
        let (Orders { api, key, sandbox, .. }, body) = (orders, r#"{"argv":["true"]}"#);
        let head = format!(
            "POST /v1/sandbox/{sandbox}/process/execute HTTP/1.1\r\nhost: {api}\r\nauthorization: {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Ok(Self { stream: BufReader::new(stream), request: (head + body).into_bytes() })
    }

    async fn execute(&mut self) -> Result<()> {
        self.stream.write_all(&self.request).await?;
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            self.stream.read_line(&mut head).await?;
            if let Some(value) = head[start..].strip_prefix("content-length: ") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        let ended: serde_json::Value = serde_json::from_slice(&body)?;
        if head.starts_with("HTTP/1.1 200 ") && ended["exit_code"] == 0 {
            Ok(())
        } else {
            Err(format!("{head}{ended}").into())
        }
    }
}

/// A connection to the agent of its own, beside the node's.
async fn dial(orders: &Orders) -> Result<Connection> {
    let record: serde_json::Value = serde_json::from_slice(&fs::read(&orders.record)?)?;
    let token = record["token"].as_str().ok_or("the record has no token")?.to_owned();
    let namespace = File::open(&orders.namespace)?;
    // A thread that has entered a namespace is of no other use.
    let socket = std::thread::spawn(move || -> Result<_> {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(std::net::TcpStream::connect((INSIDE, AGENT_TCP_PORT))?)
    });
    let socket = socket.join().map_err(|_| "the thread that dials panicked")??;
    socket.set_nonblocking(true)?;
    let hello = NodeHello { generation: GENERATION, token, claim: None, dial: None };
    let stream = Stream::Tcp(TcpStream::from_std(socket)?);
    Ok(Connection::open(stream, hello, GREETING_BOUND).await?.0)
}

async fn ask(agent: &Connection) -> Result<()> {
    let exec = Exec {
        command: Command::Argv(vec!["true".into()]),
        cwd: None,
        env: Default::default(),
        user: None,
        timeout_ms: Some(30_000),
        stdin: false,
        id: None,
    };
    match agent.ask(&Request::Exec(exec)).await? {
        Done::Exec(end) if end.exit_code == Some(0) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// One round: all at once; microseconds of each are added to `times`.
async fn round<C, F>(clients: Vec<C>, times: &mut Vec<u64>, run: impl Fn(C) -> F) -> Result<Vec<C>>
where
    C: Send + 'static,
    F: Future<Output = Result<C>> + Send + 'static,
{
    let mut running = JoinSet::new();
    for client in clients {
        let run = run(client);
        running.spawn(async move {
            let began = Instant::now();
            run.await.map(|client| (client, began.elapsed().as_micros() as u64))
        });
    }
    let mut done = Vec::new();
    while let Some(result) = running.join_next().await {
        let (client, micros) = result??;
        done.push(client);
        times.push(micros);
    }
    Ok(done)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let orders = std::env::args().nth(1).ok_or("the first argument says what to do, as JSON")?;
    let orders: Orders = serde_json::from_str(&orders)?;
    let mut clients = Vec::new();
    for _ in 0..orders.at_once {
        clients.push(Http::open(&orders).await?);
    }
    let mut agents = vec![dial(&orders).await?; orders.at_once];
    let (mut api, mut direct) = (Vec::new(), Vec::new());
    for number in 0..orders.rounds + WARM_UP_ROUNDS {
        if number == WARM_UP_ROUNDS {
            api.clear();
            direct.clear();
        }
        clients =
            round(clients, &mut api, |mut client| async move { client.execute().await.map(|()| client) })
                .await?;
        agents = round(agents, &mut direct, |agent| async move { ask(&agent).await.map(|()| agent) }).await?;
    }
    println!("{}", serde_json::json!({ "api_us": api, "direct_us": direct }));
    Ok(())
}
