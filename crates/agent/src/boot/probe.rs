//! One look at whether something is up.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::guest::{Command, Error, Exec, ExecEnd};
use wire::sandbox::{HttpProbe, Probe};

use super::last_words;
use crate::agent::{Agent, Claimed};
use crate::failure;
use crate::process::{Kept, begin};

/// Bytes of an answer that are read for its first line.
const STATUS_LINE_BYTES_MAX: usize = 1024;
/// The statuses of a service that is up.
const GOOD_STATUSES: std::ops::RangeInclusive<u16> = 200..=399;
/// What commands are called where processes have names; nobody can find them by it.
const COMMAND_ID: &str = "ready";

/// Tries a probe; what it answered where it failed.
pub struct Prober<'a> {
    agent: &'a Agent,
    claimed: &'a Claimed,
    probe: &'a Probe,
    session: Cell<Option<i32>>,
}

/// Whether a probe can be tried at all.
pub fn check(probe: &Probe) -> Result<(), Error> {
    match probe {
        // It becomes a line of a request.
        Probe::Http(HttpProbe { path, .. })
            if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Err(failure::invalid(format!("{path:?} is not the path of a URL")))
        }
        _ => Ok(()),
    }
}

impl<'a> Prober<'a> {
    /// For this probe.
    pub fn new(agent: &'a Agent, claimed: &'a Claimed, probe: &'a Probe) -> Self {
        Self { agent, claimed, probe, session: Cell::new(None) }
    }

    /// The session of a command that is being tried.
    pub fn session(&self) -> Option<i32> {
        self.session.get()
    }

    /// Once. Dropped before it ends, it leaves nothing running.
    pub async fn try_once(&self) -> Result<(), String> {
        match self.probe {
            Probe::Port(port) => either(*port, async |address| connect(address).await.map(drop)).await,
            Probe::Http(HttpProbe { port, path }) => {
                either(*port, async |address| get(address, path).await).await
            }
            Probe::Command(command) => self.run(command).await,
        }
    }

    async fn run(&self, command: &str) -> Result<(), String> {
        let exec = Exec::of(Command::Shell(command.to_owned()));
        let begun = begin(self.agent, self.claimed, exec, COMMAND_ID, std::future::pending()).await;
        let run = Run { kept: begun.map_err(|error| error.message)?, session: &self.session };
        self.session.set(Some(run.kept.card.pid));
        let end = run.kept.ended().await;
        if end.exit_code == Some(0) { Ok(()) } else { Err(describe(&end, &last_words(&run.kept))) }
    }
}

/// A command that is being tried, and ends with this.
struct Run<'a> {
    kept: Rc<Kept>,
    session: &'a Cell<Option<i32>>,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.kept.discard();
        self.session.set(None);
    }
}

fn describe(end: &ExecEnd, last_words: &str) -> String {
    let how = match (end.exit_code, end.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".into(),
    };
    if last_words.is_empty() { how } else { format!("{how}: {last_words}") }
}

/// Tries both addresses of this machine: programs listen on one or the other. What both said, if neither does.
async fn either(port: u16, ask: impl AsyncFn(SocketAddr) -> Result<(), String>) -> Result<(), String> {
    let at = |address: IpAddr| ask(SocketAddr::new(address, port));
    let (mut four, mut six) = (pin!(at(Ipv4Addr::LOCALHOST.into())), pin!(at(Ipv6Addr::LOCALHOST.into())));
    let (first, second) = tokio::select! {
        four = &mut four => match four {
            Ok(()) => return Ok(()),
            Err(error) => (error, six.await),
        },
        six = &mut six => match six {
            Ok(()) => return Ok(()),
            Err(error) => (error, four.await),
        },
    };
    second.map_err(|second| if first == second { first } else { format!("{first}, or {second}") })
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| failure::text(&error))
}

/// `GET path`; only the status counts.
async fn get(address: SocketAddr, path: &str) -> Result<(), String> {
    let mut stream = connect(address).await?;
    let port = address.port();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\nuser-agent: atoll-ready\r\naccept: */*\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| failure::text(&error))?;
    let line = first_line(&mut stream).await.map_err(|error| failure::text(&error))?;
    match status(&line) {
        Some(status) if GOOD_STATUSES.contains(&status) => Ok(()),
        Some(status) => Err(format!("status {status}")),
        None => Err("an answer that is not HTTP".into()),
    }
}

async fn first_line(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    while !read.contains(&b'\n') && read.len() < STATUS_LINE_BYTES_MAX {
        if stream.read_buf(&mut read).await? == 0 {
            break;
        }
    }
    Ok(read.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec())
}

/// The number in `HTTP/1.1 200 OK`.
fn status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line.get(..line.len().min(32))?).ok()?;
    let mut words = line.split_ascii_whitespace();
    words.next()?.starts_with("HTTP/").then(|| words.next()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_second_word_of_an_answer() {
        let of = |line: &str| status(line.as_bytes());
        assert_eq!(of("HTTP/1.0 204 No Content\r"), Some(204));
        assert_eq!(of("HTTP/1.1 503"), Some(503));
        for wrong in ["", "HTTP/1.1", "220 mail ready", "HTTP/1.1 ok", "\u{e9}"] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_path_stays_within_its_line() {
        let of = |path: &str| check(&Probe::Http(HttpProbe { port: 80, path: path.into() }));
        assert!(of("/health?deep=1").is_ok());
        for wrong in ["", "health", "/a b", "/a\r\nx: y", "/\u{e9}"] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn it_is_enough_that_one_address_answers() {
        let ask = |good: IpAddr| {
            async move |address: SocketAddr| if address.ip() == good { Ok(()) } else { Err("refused".into()) }
        };
        assert_eq!(either(1, ask(Ipv4Addr::LOCALHOST.into())).await, Ok(()));
        assert_eq!(either(1, ask(Ipv6Addr::LOCALHOST.into())).await, Ok(()));
        assert_eq!(either(1, ask(Ipv4Addr::BROADCAST.into())).await, Err("refused".into()));
    }
}
