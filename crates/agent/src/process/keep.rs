//! The life of a process that has an id: started for a stream, but not ended with it.

use std::rc::Rc;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use wire::guest::frame::Channel;
use wire::guest::{Error, Exec, ExecCause, ExecEnd, Outcome};

use super::attach::Hearing;
use super::card::Card;
use super::exec::{beside, end, start, time_up};
use super::kept::Kept;
use super::kill::kill_all;
use super::output::Output;
use super::reaper::{Exit, Reaper};
use super::spawner::Started;
use super::table::Table;
use crate::agent::{Agent, Claimed};
use crate::connection::stream::Stream;
use crate::failure;

/// Starts a process that is known as `id` from then on; the stream is its first listener.
pub async fn keep(agent: &Agent, claimed: &Claimed, stream: &Stream, exec: Exec, id: &str) -> Outcome {
    let reservation = agent.processes.reserve(id)?;
    let kept = begin(agent, claimed, exec, id, stream.cancelled()).await?;
    reservation.fill(&kept);
    Hearing::of(kept.listen(0)?).talk(agent, stream).await
}

/// The same with nobody listening. That it cannot be started is what it said, and its end.
pub async fn keep_for_nobody(
    agent: &Agent,
    claimed: &Claimed,
    exec: Exec,
    id: &str,
) -> Result<Rc<Kept>, Error> {
    let reservation = agent.processes.reserve(id)?;
    let card = Card::new(id, &claimed.sandbox, &exec);
    let begun = begin(agent, claimed, exec, id, std::future::pending()).await;
    let kept = begun.unwrap_or_else(|error| Kept::stillborn(card, &error, agent.processes.kept_bytes()));
    reservation.fill(&kept);
    Ok(kept)
}

/// Starts a process and gives it to a task of its own; nobody finds it by its name yet.
pub async fn begin(
    agent: &Agent,
    claimed: &Claimed,
    exec: Exec,
    id: &str,
    unwanted: impl Future<Output = ()>,
) -> Result<Rc<Kept>, Error> {
    let card = Card::new(id, &claimed.sandbox, &exec);
    let time = exec.timeout_ms.map(Duration::from_millis);
    let started = start(&claimed.spawner, unwanted, exec).await?;
    let card = card.started(started.pid);
    let (pipes, exit) = Pipes::new(started, &agent.reaper)?;
    let (input, outputs) = (pipes.input, pipes.outputs);
    let kept = Kept::new(card, input, agent.processes.kept_bytes());
    let life = Life { kept: kept.clone(), exit, outputs, reaper: agent.reaper.clone() };
    tokio::task::spawn_local(life.live(time, agent.processes.clone()));
    Ok(kept)
}

struct Pipes {
    input: Option<pipe::Sender>,
    outputs: [Output; 2],
}

impl Pipes {
    /// The pipes of a process that has just been started, and word of its end. It is killed if they cannot be watched.
    fn new(started: Started, reaper: &Reaper) -> Result<(Self, oneshot::Receiver<Exit>), Error> {
        let Started { pid, exit, stdin, stdout, stderr } = started;
        let pipes = || {
            let input = stdin.map(pipe::Sender::from_owned_fd).transpose()?;
            let outputs = [Output::new(stdout, Channel::Stdout)?, Output::new(stderr, Channel::Stderr)?];
            std::io::Result::Ok(Self { input, outputs })
        };
        match pipes() {
            Ok(pipes) => Ok((pipes, exit)),
            Err(error) => {
                reaper.kill_group(pid);
                Err(failure::of("watching the pipes of the process", error))
            }
        }
    }
}

/// A process that goes on whoever listens.
pub(super) struct Life {
    pub(super) kept: Rc<Kept>,
    pub(super) exit: oneshot::Receiver<Exit>,
    pub(super) outputs: [Output; 2],
    pub(super) reaper: std::sync::Arc<Reaper>,
}

impl Life {
    /// From the start of a process to its end, whoever listens.
    pub(super) async fn live(mut self, mut time: Option<Duration>, table: Rc<Table>) {
        let Self { kept, exit, outputs: [stdout, stderr], reaper } = &mut self;
        let talk = async {
            tokio::join!(stdout.keep(kept), stderr.keep(kept));
        };
        let watched = async {
            tokio::select! {
                biased;
                exit = &mut *exit => (exit.ok(), None),
                cause = doom(kept, &mut time) => {
                    kill_all(kept.card.pid, reaper).await;
                    (exit.await.ok(), Some(cause))
                }
            }
        };
        let (exit, cause) = beside(talk, watched).await;
        self.end(end(exit, cause));
        table.forget_surplus();
    }

    /// It has ended: keeps what it has said before. Processes it left behind go on, and are listened to no more.
    pub(super) fn end(mut self, end: ExecEnd) {
        for output in &mut self.outputs {
            output.keep_rest(&self.kept);
        }
        self.kept.set_ended(end);
        for output in self.outputs {
            tokio::task::spawn_local(output.discard());
        }
    }
}

/// Waits for what ends a process from outside.
async fn doom(kept: &Kept, time: &mut Option<Duration>) -> ExecCause {
    tokio::select! {
        () = kept.unwanted() => ExecCause::Cancelled,
        () = time_up(time) => ExecCause::Timeout,
    }
}
