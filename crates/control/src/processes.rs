//! Running commands in a sandbox.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::time::Instant;
use wire::guest::frame::Channel;
use wire::guest::{Done, Exec, ExecCause, ExecEnd, Head, Request};
use wire::id::{SandboxId, TeamId};
use wire::public::process::{Executed, ProcessEvent, ProcessEventKind};

use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::nodes::{GuestAnswer, GuestEvent, NodeFailure};
use crate::sandboxes::{explain, ready};

/// How long after a command's own time is up its end must have been heard of.
const GRACE: Duration = Duration::from_secs(30);

/// How long a command may take to start.
const START_WAIT: Duration = Duration::from_secs(30);

/// The exit code of a command whose time was up: the one number that is ours, as `timeout(1)` has it.
pub const TIMED_OUT_EXIT_CODE: i32 = 124;

/// A command somebody wants run.
#[derive(Debug, Clone)]
pub struct Order {
    /// What, where and with which environment. Its time is [`Order::timeout_seconds`].
    pub exec: Exec,
    /// Its time, in seconds.
    pub timeout_seconds: u32,
}

impl Order {
    fn request(&self) -> Request {
        let timeout_ms = Some(u64::from(self.timeout_seconds) * 1000);
        Request::Exec(Exec { timeout_ms, ..self.exec.clone() })
    }

    fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.timeout_seconds.into()) + GRACE
    }
}

/// Runs a command to its end.
pub async fn execute(fleet: &Fleet, team: &TeamId, id: &SandboxId, order: &Order) -> Result<Executed> {
    let node = ready(fleet, team, id).await?;
    let (request, deadline) = (order.request(), order.deadline());
    let run = async {
        let mut answer = node.client.guest(id, &request).await?;
        collect(&mut answer, fleet.limits.output_bytes_max).await
    };
    match tokio::time::timeout_at(deadline, run).await {
        Ok(Ok((outcome, output))) => executed(outcome.map_err(Error::Guest)?, output),
        Ok(Err(failure)) => Err(explain(fleet, id, failure).await),
        Err(_) => Err(overdue(order)),
    }
}

fn overdue(order: &Order) -> Error {
    Error::Slow {
        what: "hearing of the command's end",
        seconds: u64::from(order.timeout_seconds) + GRACE.as_secs(),
    }
}

/// What a command said, as far as it is kept.
#[derive(Default)]
struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

impl Output {
    fn keep(&mut self, channel: Channel, bytes: &[u8], bytes_max: usize) {
        let kept = if channel == Channel::Stderr { &mut self.stderr } else { &mut self.stdout };
        let room = bytes_max - kept.len().min(bytes_max);
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.truncated |= bytes.len() > room;
    }
}

async fn collect(
    answer: &mut GuestAnswer,
    bytes_max: usize,
) -> Result<(wire::guest::Outcome, Output), NodeFailure> {
    let mut output = Output::default();
    loop {
        match answer.next().await? {
            GuestEvent::Head(_) => {}
            GuestEvent::Data(channel, bytes) => output.keep(channel, &bytes, bytes_max),
            GuestEvent::End(outcome) => return Ok((outcome, output)),
        }
    }
}

fn executed(done: Done, output: Output) -> Result<Executed> {
    let end = exec_end(done)?;
    Ok(Executed {
        exit_code: exit_code(&end)?,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        timed_out: end.cause == ExecCause::Timeout,
        out_of_memory: end.cause == ExecCause::OutOfMemory,
        truncated: output.truncated,
    })
}

fn exec_end(done: Done) -> Result<ExecEnd> {
    match done {
        Done::Exec(end) => Ok(end),
        _ => Err(Error::Broken("the agent answered another question".into())),
    }
}

/// What the kernel said, as a shell would put it. Nothing is made up where it said nothing.
fn exit_code(end: &ExecEnd) -> Result<i32> {
    match (end.cause, end.exit_code, end.signal) {
        (ExecCause::Timeout, _, _) => Ok(TIMED_OUT_EXIT_CODE),
        (_, Some(code), _) => Ok(code),
        (_, None, Some(signal)) => Ok(128 + signal),
        (_, None, None) => Err(Error::Broken("the agent did not say how the command ended".into())),
    }
}

/// A command that runs, event by event. Dropped, the command is killed.
pub struct Running {
    answer: GuestAnswer,
    deadline: Instant,
    order: Order,
    pid: Option<u32>,
    seq: u64,
    ended: bool,
}

/// Starts a command; returns when it runs.
pub async fn start(fleet: &Fleet, team: &TeamId, id: &SandboxId, order: Order) -> Result<Running> {
    let node = ready(fleet, team, id).await?;
    let (request, deadline) = (order.request(), order.deadline());
    let begin = async {
        let mut answer = node.client.guest(id, &request).await?;
        let first = answer.next().await?;
        Ok((answer, first))
    };
    let slow = |_| Error::Slow { what: "starting the command", seconds: START_WAIT.as_secs() };
    match tokio::time::timeout(START_WAIT, begin).await.map_err(slow)? {
        Ok((answer, GuestEvent::Head(Head::Process { pid }))) => {
            Ok(Running { answer, deadline, order, pid: Some(pid), seq: 0, ended: false })
        }
        Ok((_, GuestEvent::End(Err(error)))) => Err(Error::Guest(error)),
        Ok(_) => Err(Error::Broken("the agent did not say that the command runs".into())),
        Err(failure) => Err(explain(fleet, id, failure).await),
    }
}

impl Running {
    /// The next event; `None` after the last.
    pub async fn next(&mut self, fleet: &Fleet, id: &SandboxId) -> Option<ProcessEvent> {
        if self.ended {
            return None;
        }
        let event = match self.pid.take() {
            Some(pid) => ProcessEventKind::Started { pid },
            None => self.next_kind(fleet, id).await,
        };
        self.ended = matches!(event, ProcessEventKind::Exit { .. } | ProcessEventKind::Error { .. });
        let seq = self.seq;
        self.seq += 1;
        Some(ProcessEvent { seq, event })
    }

    async fn next_kind(&mut self, fleet: &Fleet, id: &SandboxId) -> ProcessEventKind {
        match tokio::time::timeout_at(self.deadline, self.answer.next()).await {
            Ok(Ok(event)) => kind(event).unwrap_or_else(|error| failed(&error)),
            Ok(Err(failure)) => failed(&explain(fleet, id, failure).await),
            Err(_) => failed(&overdue(&self.order)),
        }
    }
}

fn kind(event: GuestEvent) -> Result<ProcessEventKind> {
    let text = |bytes: Bytes| STANDARD.encode(bytes);
    match event {
        GuestEvent::Data(Channel::Stderr, bytes) => Ok(ProcessEventKind::Stderr { data: text(bytes) }),
        GuestEvent::Data(_, bytes) => Ok(ProcessEventKind::Stdout { data: text(bytes) }),
        GuestEvent::End(Ok(done)) => exit(done),
        GuestEvent::End(Err(error)) => Err(Error::Guest(error)),
        GuestEvent::Head(_) => Err(Error::Broken("the agent said twice that the command runs".into())),
    }
}

fn exit(done: Done) -> Result<ProcessEventKind> {
    let end = exec_end(done)?;
    let how = match end.cause {
        ExecCause::Timeout => "timeout",
        ExecCause::OutOfMemory => "out_of_memory",
        ExecCause::Itself | ExecCause::Cancelled if end.signal.is_some() => "signal",
        ExecCause::Itself | ExecCause::Cancelled => "exited",
    };
    Ok(ProcessEventKind::Exit { exit_code: exit_code(&end)?, signal: end.signal, how: how.into() })
}

fn failed(error: &Error) -> ProcessEventKind {
    let body = crate::http::error_body(error);
    ProcessEventKind::Error { code: body.code, message: body.message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(exit_code: Option<i32>, signal: Option<i32>, cause: ExecCause) -> ExecEnd {
        ExecEnd { exit_code, signal, cause }
    }

    #[test]
    fn exit_codes_are_what_a_shell_would_say_and_never_invented() {
        assert_eq!(exit_code(&end(Some(3), None, ExecCause::Itself)).unwrap(), 3);
        assert_eq!(exit_code(&end(None, Some(9), ExecCause::Itself)).unwrap(), 137);
        assert_eq!(exit_code(&end(None, Some(9), ExecCause::Timeout)).unwrap(), TIMED_OUT_EXIT_CODE);
        assert_eq!(exit_code(&end(None, Some(9), ExecCause::OutOfMemory)).unwrap(), 137);
        assert!(exit_code(&end(None, None, ExecCause::Itself)).is_err());
    }

    #[test]
    fn output_over_the_limit_is_dropped_and_said_to_be() {
        let mut output = Output::default();
        output.keep(Channel::Stdout, b"12345", 8);
        output.keep(Channel::Stderr, b"12345678", 8);
        assert!(!output.truncated);
        output.keep(Channel::Stdout, b"6789", 8);
        output.keep(Channel::Stdout, b"more", 8);
        assert_eq!((&output.stdout[..], output.truncated), (&b"12345678"[..], true));
    }
}
