//! One process, from its request to its end.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use wire::guest::frame::Channel;
use wire::guest::{Done, Error, ErrorCode, Exec, ExecCause, ExecEnd, Head, Outcome};

use super::attach::Hearing;
use super::card::Card;
use super::input::Input;
use super::keep::{Life, keep};
use super::kept::Kept;
use super::kill::kill_all;
use super::output::Output;
use super::reaper::{Exit, Reaper};
use super::spawner::{Spawner, Started};
use crate::agent::{Agent, Claimed};
use crate::connection::stream::Stream;
use crate::{awake, failure};

/// Time for a process to become its program, in seconds. Only a file system that hangs takes so long.
pub const START_SECONDS_MAX: u64 = 60;

/// What a shell exits with when the command it waited for was killed by SIGKILL.
const SHELL_SAW_KILL: i32 = 128 + libc::SIGKILL;

/// Runs a process: its number first, then what it says, then how it ended.
pub async fn exec(agent: &Agent, claimed: &Claimed, stream: &Stream, mut exec: Exec) -> Outcome {
    if let Some(id) = exec.id.take() {
        return keep(agent, claimed, stream, exec, &id).await;
    }
    let presence = agent.parting.enter(true);
    let mut time = exec.timeout_ms.map(Duration::from_millis);
    let started = start(&claimed.spawner, stream.cancelled(), exec).await?;
    let mut running = Running::new(started, agent.reaper.clone())?;
    let ended = tokio::select! {
        biased;
        ended = running.run(stream, &mut time) => ended,
        () = presence.asked() => return running.part(agent, stream, time),
    };
    let end = end(ended.0, ended.1);
    running.ended = Some(end.clone());
    tokio::select! {
        biased;
        () = running.finish(stream) => {}
        () = presence.asked() => return running.part(agent, stream, time),
    }
    running.discard();
    Ok(Done::Exec(end))
}

/// Has a process started, unless nobody wants it any more before.
pub(super) async fn start(
    spawner: &Spawner,
    unwanted: impl Future<Output = ()>,
    exec: Exec,
) -> Result<Started, Error> {
    let mut unwanted = pin!(unwanted);
    let mut starting = tokio::select! {
        starting = spawner.submit(exec) => starting,
        () = &mut unwanted => return Err(failure::cancelled()),
    };
    let given_up = tokio::select! {
        biased;
        started = &mut starting => return started.unwrap_or_else(|_| Err(no_start("nothing starts processes any more"))),
        () = &mut unwanted => failure::cancelled(),
        () = tokio::time::sleep(Duration::from_secs(START_SECONDS_MAX)) => {
            no_start("the program did not start within a minute: its file system does not answer")
        }
    };
    // From here on the spawner kills what it starts; what it has handed over just before is ours to end.
    starting.close();
    starting.try_recv().unwrap_or(Err(given_up))
}

fn no_start(message: &str) -> Error {
    Error::new(ErrorCode::Io, message)
}

/// A process that runs, and its pipes.
struct Running {
    pid: i32,
    exit: oneshot::Receiver<Exit>,
    stdin: Input,
    stdout: Output,
    stderr: Output,
    is_announced: bool,
    /// How it ended, once it has.
    ended: Option<ExecEnd>,
    reaper: Arc<Reaper>,
}

impl Running {
    fn new(started: Started, reaper: Arc<Reaper>) -> Result<Self, Error> {
        let Started { pid, exit, stdin, stdout, stderr } = started;
        let pipes = || {
            let stdout = Output::new(stdout, Channel::Stdout)?;
            let stderr = Output::new(stderr, Channel::Stderr)?;
            std::io::Result::Ok((Input::new(stdin)?, stdout, stderr))
        };
        match pipes() {
            Ok((stdin, stdout, stderr)) => {
                Ok(Self { pid, exit, stdin, stdout, stderr, is_announced: false, ended: None, reaper })
            }
            Err(error) => {
                reaper.kill_group(pid);
                Err(failure::of("watching the pipes of the process", error))
            }
        }
    }

    /// Until it has ended: by itself, or because its time was up or nobody cared any more.
    async fn run(
        &mut self,
        stream: &Stream,
        time: &mut Option<Duration>,
    ) -> (Option<Exit>, Option<ExecCause>) {
        let Self { pid, exit, stdin, stdout, stderr, is_announced, reaper, .. } = self;
        let talk = async {
            announce(stream, *pid, is_announced).await;
            tokio::join!(stdout.relay(stream), stderr.relay(stream), stdin.feed(stream));
        };
        let watched = async {
            tokio::select! {
                biased;
                exit = &mut *exit => (exit.ok(), None),
                cause = doom(stream, time) => {
                    kill_all(*pid, reaper).await;
                    (exit.await.ok(), Some(cause))
                }
            }
        };
        beside(talk, watched).await
    }

    /// Goes on without its stream, as long as its time lasts; what it says is kept for whoever comes back.
    fn part(self, agent: &Agent, stream: &Stream, time: Option<Duration>) -> Outcome {
        let Self { pid, exit, mut stdin, stdout, stderr, is_announced, ended, reaper } = self;
        stdin.part(stream);
        let kept = Kept::new(Card::unseen(pid), None, agent.processes.kept_bytes());
        let listener = kept.listen(0)?;
        let life = Life { kept, exit, outputs: [stdout, stderr], reaper };
        match ended {
            Some(end) => life.end(end),
            None => drop(tokio::task::spawn_local(life.live(time, agent.processes.clone()))),
        }
        let head = (!is_announced).then_some(Head::Process { pid: pid as u32 });
        let hearing = Hearing { listener, head, input: Some(stdin), is_owner: true };
        agent.parting.leave(hearing, stream)
    }

    /// Sends what it said before its end. Processes it left behind go on, and are listened to no more.
    async fn finish(&mut self, stream: &Stream) {
        let Self { pid, stdout, stderr, is_announced, .. } = self;
        let said = async {
            // It may have ended before there was time to say that it had begun.
            announce(stream, *pid, is_announced).await;
            stdout.drain(stream).await;
            stderr.drain(stream).await;
        };
        tokio::select! {
            biased;
            () = stream.cancelled() => {}
            () = said => {}
        }
    }

    /// Nobody listens any more.
    fn discard(self) {
        for output in [self.stdout, self.stderr] {
            tokio::task::spawn_local(output.discard());
        }
    }
}

/// Says the process's number, once.
async fn announce(stream: &Stream, pid: i32, is_announced: &mut bool) {
    if !*is_announced {
        stream.head(&Head::Process { pid: pid as u32 }).await;
        *is_announced = true;
    }
}

/// Waits for what ends a process from outside.
async fn doom(stream: &Stream, time: &mut Option<Duration>) -> ExecCause {
    tokio::select! {
        () = stream.cancelled() => ExecCause::Cancelled,
        () = time_up(time) => ExecCause::Timeout,
    }
}

/// Waits until the time of a process is up; for ever, if it has none. Given up, it says what is left.
pub(super) async fn time_up(time: &mut Option<Duration>) {
    match time {
        Some(left) => awake::run_down(left).await,
        None => std::future::pending().await,
    }
}

/// Does `work` until `awaited` is there; `work` may be done earlier.
pub(super) async fn beside<T>(work: impl Future<Output = ()>, awaited: impl Future<Output = T>) -> T {
    let never = async {
        work.await;
        std::future::pending::<T>().await
    };
    tokio::select! {
        biased;
        result = awaited => result,
        result = never => result,
    }
}

/// How a process ended that nothing of ours was to end.
pub fn exec_end(exit: Option<Exit>) -> ExecEnd {
    end(exit, None)
}

/// What is said of an end. `cause` is what we did about it, if we did anything.
pub(super) fn end(exit: Option<Exit>, cause: Option<ExecCause>) -> ExecEnd {
    // The register tells every process's end; without one, nothing is said about it.
    let Some(exit) = exit else {
        return ExecEnd { exit_code: None, signal: None, cause: cause.unwrap_or(ExecCause::Itself) };
    };
    let cause = match cause {
        Some(cause) if exit.signal == Some(libc::SIGKILL) => cause,
        _ if is_out_of_memory(exit) => ExecCause::OutOfMemory,
        // Its own end was faster than the kill.
        _ => ExecCause::Itself,
    };
    ExecEnd { exit_code: exit.code, signal: exit.signal, cause }
}

/// Whether it ended by a kill of ours that was to save memory: its own, or that of what it waited for.
fn is_out_of_memory(exit: Exit) -> bool {
    let looks_killed = exit.signal == Some(libc::SIGKILL) || exit.code == Some(SHELL_SAW_KILL);
    exit.is_memory_kill && exit.signal == Some(libc::SIGKILL) || exit.is_memory_kill_near && looks_killed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: Option<i32>, signal: Option<i32>, is_memory_kill_near: bool) -> Exit {
        Exit { code, signal, is_memory_kill_near, is_memory_kill: false }
    }

    fn cause(exit: Exit, cause: Option<ExecCause>) -> ExecCause {
        end(Some(exit), cause).cause
    }

    #[test]
    fn a_kill_of_ours_is_the_cause_only_if_it_ended_the_process() {
        assert_eq!(cause(exit(None, Some(9), false), Some(ExecCause::Timeout)), ExecCause::Timeout);
        assert_eq!(cause(exit(Some(0), None, false), Some(ExecCause::Timeout)), ExecCause::Itself);
        assert_eq!(cause(exit(None, Some(9), false), None), ExecCause::Itself);
    }

    #[test]
    fn a_shell_that_saw_its_child_killed_for_memory_is_out_of_memory() {
        assert_eq!(cause(exit(Some(137), None, true), None), ExecCause::OutOfMemory);
        assert_eq!(
            cause(exit(Some(137), None, false), None),
            ExecCause::Itself,
            "nobody was killed for memory"
        );
        assert_eq!(cause(exit(Some(0), None, true), None), ExecCause::Itself, "it coped");
        assert_eq!(cause(exit(None, Some(9), true), None), ExecCause::OutOfMemory);
    }
}
