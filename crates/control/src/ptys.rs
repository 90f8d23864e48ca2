//! Terminals in a sandbox.

use std::time::Duration;

use wire::guest::pty::{PtyCall, PtyInfo, PtySpec};
use wire::guest::{Done, ErrorCode, Head, Request};
use wire::id::{SandboxId, TeamId};
use wire::public::pty::Pty;

use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::nodes::{GuestAnswer, GuestEvent, Upload};
use crate::pauses::ready;
use crate::sandboxes::explain;
use crate::times::rfc3339;

/// How long the agent may take over one word: the start of a program and the end of one are among them.
const WORD_WAIT: Duration = Duration::from_secs(60);

/// Which terminal of whose sandbox.
#[derive(Debug, Clone)]
pub struct Which {
    /// Whose.
    pub team: TeamId,
    /// In which sandbox.
    pub sandbox: SandboxId,
    /// Its id.
    pub id: String,
}

/// Makes one.
pub async fn create(fleet: &Fleet, team: &TeamId, sandbox: &SandboxId, spec: PtySpec) -> Result<Pty> {
    one(ask(fleet, team, sandbox, PtyCall::Open(spec)).await?)
}

/// All of them.
pub async fn list(fleet: &Fleet, team: &TeamId, sandbox: &SandboxId) -> Result<Vec<Pty>> {
    many(ask(fleet, team, sandbox, PtyCall::List).await?)
}

/// One of them.
pub async fn get(fleet: &Fleet, which: &Which) -> Result<Pty> {
    one(ask_of(fleet, which, PtyCall::Get { id: which.id.clone() }).await?)
}

/// Changes its size.
pub async fn resize(fleet: &Fleet, which: &Which, cols: u16, rows: u16) -> Result<Pty> {
    one(ask_of(fleet, which, PtyCall::Resize { id: which.id.clone(), cols, rows }).await?)
}

/// Ends it, with all that runs in it.
pub async fn delete(fleet: &Fleet, which: &Which) -> Result<()> {
    ask_of(fleet, which, PtyCall::Close { id: which.id.clone() }).await.map(drop)
}

/// A terminal that is viewed. Dropped, the viewing ends; the terminal stays.
pub struct Viewing {
    /// What is typed goes here.
    pub input: Upload,
    /// What is shown comes from here.
    pub output: GuestAnswer,
}

/// Views a terminal; returns when it is known to be there, and its program to run.
pub async fn view(fleet: &Fleet, which: &Which) -> Result<Viewing> {
    let node = ready(fleet, &which.team, &which.sandbox).await?;
    let request = Request::Pty(PtyCall::Attach { id: which.id.clone() });
    let open = async {
        let (input, answer) = node.client.guest_upload(&which.sandbox, &request).await?;
        let mut output = answer.await?;
        let first = output.next().await?;
        Ok((Viewing { input, output }, first))
    };
    match bounded(open).await? {
        Ok((viewing, GuestEvent::Head(Head::Pty(_)))) => Ok(viewing),
        Ok((_, GuestEvent::End(Err(error)))) if error.code == ErrorCode::NotFound => {
            // The terminal, or what it was to start?
            get(fleet, which).await?;
            Err(Error::Guest(error))
        }
        Ok((_, GuestEvent::End(Err(error)))) => Err(Error::Guest(error)),
        Ok(_) => Err(Error::Broken("the agent did not say that the terminal is viewed".into())),
        Err(failure) => Err(explain(fleet, &which.sandbox, failure).await),
    }
}

/// As [`ask`], of a terminal that may not be there.
async fn ask_of(fleet: &Fleet, which: &Which, call: PtyCall) -> Result<Done> {
    ask(fleet, &which.team, &which.sandbox, call).await.map_err(|error| match error {
        Error::Guest(refusal) if refusal.code == ErrorCode::NotFound => {
            Error::not_found("terminal", which.id.clone())
        }
        other => other,
    })
}

async fn ask(fleet: &Fleet, team: &TeamId, sandbox: &SandboxId, call: PtyCall) -> Result<Done> {
    let node = ready(fleet, team, sandbox).await?;
    let request = Request::Pty(call);
    let outcome = async { node.client.guest(sandbox, &request).await?.last_word().await };
    match bounded(outcome).await? {
        Ok(outcome) => outcome.map_err(Error::Guest),
        Err(failure) => Err(explain(fleet, sandbox, failure).await),
    }
}

async fn bounded<T>(wait: impl Future<Output = T>) -> Result<T> {
    let slow = |_| Error::Slow { what: "the agent's word on the terminal", seconds: WORD_WAIT.as_secs() };
    tokio::time::timeout(WORD_WAIT, wait).await.map_err(slow)
}

fn many(done: Done) -> Result<Vec<Pty>> {
    match done {
        Done::Ptys(infos) => Ok(infos.into_iter().map(present).collect()),
        _ => Err(Error::Broken("the agent answered another question".into())),
    }
}

fn one(done: Done) -> Result<Pty> {
    let one = many(done)?.pop();
    one.ok_or_else(|| Error::Broken("the agent answered with no terminal".into()))
}

fn present(info: PtyInfo) -> Pty {
    Pty {
        id: info.id,
        cwd: info.cwd,
        envs: info.env,
        cols: info.cols,
        rows: info.rows,
        created_at: rfc3339(i64::try_from(info.created_at_ms).unwrap_or(i64::MAX)),
        active: info.active,
        lazy_start: info.lazy,
    }
}
