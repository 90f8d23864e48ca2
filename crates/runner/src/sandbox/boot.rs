//! Has a sandbox start what it starts with, and waits until that is up: over as many connections as it takes, and
//! across restarts of this process, for the agent starts it once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use wire::guest::boot::{Boot, Booted, LAST_WORDS_BYTES_MAX, Ready};
use wire::guest::{Done, ExecCause, ExecEnd, Request};
use wire::node::StepTime;
use wire::sandbox::{HttpProbe, Probe};

use super::record::{Phase, Record};
use super::talk::Talk;
use crate::guest::{Connection, GuestError};
use crate::node::Node;
use wire::causes::chain;

/// Beyond the time for the ready check, the agent may take so long to start it and to answer.
const GRACE: Duration = Duration::from_secs(45);
/// The step of a bring-up in which this happens.
const READY: &str = "ready";

/// Until it is up, where that was asked, or started. Else what was seen of it, for people.
pub(super) async fn boot(
    node: Arc<Node>,
    record: Record,
    guest: watch::Receiver<Option<Connection>>,
    talk: Arc<Talk>,
) -> Result<StepTime, String> {
    let began = Instant::now();
    let _talking = talk.begin(|| node.engine.wake(&record.id));
    let bound = left(&node, &record) + GRACE;
    let asked = tokio::time::timeout(bound, ask(&node, &record, guest)).await;
    let late = |_| Err(format!("its agent did not say within {} s what became of it", bound.as_secs()));
    let booted = asked.unwrap_or_else(late).and_then(|booted| judge(&record, booted));
    if let Err(evidence) = &booted {
        tracing::warn!(sandbox = %record.id, evidence, "what it starts with is not up");
    }
    booted?;
    node.faults.reached(READY).await;
    Ok(StepTime { step: READY.into(), micros: began.elapsed().as_micros() as u64 })
}

/// What the agent says, over the first connection that lasts as long.
async fn ask(
    node: &Node,
    record: &Record,
    mut guest: watch::Receiver<Option<Connection>>,
) -> Result<Booted, String> {
    loop {
        let connection = connected(&mut guest).await;
        match connection.ask(&order(node, record)).await {
            Ok(Done::Booted(booted)) => return Ok(booted),
            Ok(_) => return Err(chain(&GuestError::OddAnswer)),
            Err(GuestError::Broken(_)) => {}
            Err(error) => return Err(chain(&error)),
        }
    }
}

/// The connection, as soon as there is one that is not broken. What keeps it from coming back is another's to see.
async fn connected(guest: &mut watch::Receiver<Option<Connection>>) -> Connection {
    let lasts = |guest: &Option<Connection>| guest.as_ref().is_some_and(|guest| guest.broken().is_none());
    let connection = guest.wait_for(lasts).await.ok().and_then(|guest| guest.clone());
    match connection {
        Some(connection) => connection,
        None => std::future::pending().await,
    }
}

fn order(node: &Node, record: &Record) -> Request {
    let boot = record.spec.boot.as_ref();
    let ready = boot.and_then(|boot| boot.ready.as_ref());
    let ready = ready
        .map(|ready| Ready { probe: ready.probe.clone(), timeout_ms: left(node, record).as_millis() as u64 });
    Request::Boot(Boot { argv: boot.map(|boot| boot.argv.clone()).unwrap_or_default(), ready })
}

/// What is left of the time for the ready check. A restart of this process does not lengthen it.
fn left(node: &Node, record: &Record) -> Duration {
    let Phase::Booting { since_boot_ms } = record.phase else { return record.spec.ready_wait() };
    let waited = node.clock.boot_ms().saturating_sub(since_boot_ms);
    record.spec.ready_wait().saturating_sub(Duration::from_millis(waited))
}

fn judge(record: &Record, booted: Booted) -> Result<(), String> {
    if !booted.is_up {
        return Err(evidence(record, &booted));
    }
    if booted.end.as_ref().is_some_and(|end| end.cause == ExecCause::NotStarted) {
        let why = plain(&booted.last_words);
        tracing::info!(sandbox = %record.id, why, "what it starts with could not be started");
    }
    Ok(())
}

/// What was waited for, how long, what came of it, and what the process said.
fn evidence(record: &Record, booted: &Booted) -> String {
    let argv = record.spec.boot.as_ref().map_or(String::new(), |boot| boot.argv.join(" "));
    let mut evidence = format!("`{}` {}", plain(&argv), fate(booted.end.as_ref()));
    let probe = record.spec.boot.as_ref().and_then(|boot| boot.ready.as_ref()).map(|ready| &ready.probe);
    if let Some(probe) = probe.filter(|_| booted.tries > 0) {
        let seconds = Duration::from_millis(booted.waited_ms).as_secs_f64();
        let answer = if booted.last_answer.is_empty() { "nothing" } else { &plain(&booted.last_answer) };
        let times = if booted.tries == 1 { "once".into() } else { format!("{} times", booted.tries) };
        evidence += &format!(" and was not ready: {} was tried {times} in {seconds:.1} s", wanted(probe));
        evidence += &format!(", with {answer} at last");
    }
    if !booted.last_words.is_empty() {
        evidence += &format!("; its last words: {}", plain(&booted.last_words));
    }
    evidence
}

fn fate(end: Option<&ExecEnd>) -> String {
    let Some(end) = end else { return "runs".into() };
    match (end.cause, end.exit_code, end.signal) {
        (ExecCause::NotStarted, ..) => "could not be started".into(),
        (ExecCause::OutOfMemory, ..) => "was killed because the sandbox ran out of memory".into(),
        (_, Some(code), _) => format!("exited with code {code}"),
        (_, None, Some(signal)) => format!("was ended by signal {signal}"),
        (_, None, None) => "ended".into(),
    }
}

fn wanted(probe: &Probe) -> String {
    match probe {
        Probe::Port(port) => format!("a connection to port {port}"),
        Probe::Http(HttpProbe { port, path }) => format!("GET {} on port {port}", plain(path)),
        Probe::Command(command) => format!("`{}`", plain(command)),
    }
}

/// What somebody inside has said, fit for a line of text: no longer than agents may be, and nothing a terminal obeys.
fn plain(text: &str) -> String {
    let start = text.len().saturating_sub(LAST_WORDS_BYTES_MAX);
    let tail = &text[text.ceil_char_boundary(start)..];
    tail.chars()
        .map(|letter| if letter.is_control() && letter != '\n' { '\u{fffd}' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::id::{ENTROPY_BYTES, SandboxId};
    use wire::node::SandboxSpec;
    use wire::sandbox::{ReadyCheck, Resources};

    fn with(probe: Probe) -> Record {
        let ready = Some(ReadyCheck { probe, timeout_seconds: 10 });
        let argv = vec!["serve".into(), "--all".into()];
        let spec = SandboxSpec {
            image: wire::image::Digest::from_sha256([1; 32]),
            resources: Resources { vcpu: 1, memory_mib: 512, disk_mib: 1024, processes_max: 100 },
            timeout_seconds: 300,
            env: Default::default(),
            workdir: "/".into(),
            user: String::new(),
            boot: Some(wire::sandbox::Boot { argv, ready, stop_signal: None }),
            auto_pause: false,
            from: None,
        };
        Record::new(SandboxId::from_entropy([1; ENTROPY_BYTES]), 1, spec, "token".into(), "boot".into())
    }

    fn down(exit_code: Option<i32>, cause: ExecCause) -> Booted {
        let end = (exit_code.is_some() || cause != ExecCause::Itself).then_some(ExecEnd {
            exit_code,
            signal: None,
            cause,
        });
        Booted {
            is_up: false,
            waited_ms: 10_040,
            tries: 7,
            last_answer: "status 503".into(),
            end,
            last_words: "no\tdatabase".into(),
        }
    }

    #[test]
    fn the_evidence_says_what_was_waited_for_and_what_was_seen() {
        let http = with(Probe::Http(HttpProbe { port: 80, path: "/up".into() }));
        assert_eq!(
            evidence(&http, &down(None, ExecCause::Itself)),
            "`serve --all` runs and was not ready: GET /up on port 80 was tried 7 times in 10.0 s, with status 503 at \
             last; its last words: no\u{fffd}database"
        );
        let port = evidence(&with(Probe::Port(80)), &down(Some(3), ExecCause::Itself));
        assert!(
            port.starts_with("`serve --all` exited with code 3 and was not ready: a connection to port 80"),
            "{port}"
        );
        let missing = Booted { tries: 0, ..down(None, ExecCause::NotStarted) };
        let missing = evidence(&with(Probe::Port(80)), &missing);
        assert_eq!(missing, "`serve --all` could not be started; its last words: no\u{fffd}database");
    }

    #[test]
    fn what_an_agent_says_is_bounded() {
        let long = plain(&"é\u{1b}".repeat(10_000));
        assert!(long.len() <= 2 * LAST_WORDS_BYTES_MAX && !long.contains('\u{1b}'), "{}", long.len());
    }
}
