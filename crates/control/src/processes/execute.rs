//! A command run to its end, and all it said.

use bytes::Bytes;
use wire::guest::frame::Channel;
use wire::guest::{Done, ExecCause, Outcome};
use wire::id::{SandboxId, TeamId};
use wire::public::process::{Executed, Ran};

use super::end::{exec_end, exit_code};
use super::input::feed;
use super::{Order, at};
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::nodes::{GuestAnswer, GuestEvent, Node, NodeFailure};
use crate::pauses::ready;
use crate::sandboxes::explain;

/// Runs a command to its end.
pub async fn execute(fleet: &Fleet, team: &TeamId, id: &SandboxId, order: &Order) -> Result<Executed> {
    let node = ready(fleet, team, id).await?;
    run(fleet, &node, id, order).await
}

/// The same; a failure is told beside the ends of other commands.
pub async fn ran(fleet: &Fleet, team: &TeamId, id: &SandboxId, order: &Order) -> Ran {
    match execute(fleet, team, id, order).await {
        Ok(executed) => Ran::Executed(executed),
        Err(error) => Ran::Failed { error: crate::http::error_body(&error) },
    }
}

async fn run(fleet: &Fleet, node: &Node, id: &SandboxId, order: &Order) -> Result<Executed> {
    let deadline = order.deadline();
    tokio::select! {
        ended = talk(node, id, order, fleet.limits.output_bytes_max) => match ended {
            Ok((outcome, output)) => executed(outcome.map_err(Error::Guest)?, output),
            Err(failure) => Err(explain(fleet, id, failure).await),
        },
        () = at(deadline) => Err(order.overdue()),
    }
}

async fn talk(
    node: &Node,
    id: &SandboxId,
    order: &Order,
    bytes_max: usize,
) -> Result<(Outcome, Output), NodeFailure> {
    let request = order.request(None);
    let Some(stdin) = order.stdin.clone() else {
        return collect(node.client.guest(id, &request).await?, bytes_max).await;
    };
    let (upload, answer) = node.client.guest_upload(id, &request).await?;
    let collecting = async { collect(answer.await?, bytes_max).await };
    tokio::select! {
        collected = collecting => collected,
        never = feed(upload, stdin) => match never {},
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
    fn keep(&mut self, channel: Channel, bytes: &Bytes, bytes_max: usize) {
        let kept = if channel == Channel::Stderr { &mut self.stderr } else { &mut self.stdout };
        let room = bytes_max - kept.len().min(bytes_max);
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.truncated |= bytes.len() > room;
    }
}

async fn collect(mut answer: GuestAnswer, bytes_max: usize) -> Result<(Outcome, Output), NodeFailure> {
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
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        timed_out: end.cause == ExecCause::Timeout,
        out_of_memory: end.cause == ExecCause::OutOfMemory,
        truncated: output.truncated,
    })
}

/// Bytes as text. What is not UTF-8 is replaced.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_over_the_limit_is_dropped_and_said_to_be() {
        let mut output = Output::default();
        output.keep(Channel::Stdout, &Bytes::from_static(b"12345"), 8);
        output.keep(Channel::Stderr, &Bytes::from_static(b"12345678"), 8);
        assert!(!output.truncated);
        output.keep(Channel::Stdout, &Bytes::from_static(b"6789"), 8);
        output.keep(Channel::Stdout, &Bytes::from_static(b"more"), 8);
        assert_eq!((&output.stdout[..], output.truncated), (&b"12345678"[..], true));
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(text(b"plain".to_vec()), "plain");
        assert_eq!(text(b"a\xffb\xe2\x82".to_vec()), "a\u{fffd}b\u{fffd}");
    }
}
