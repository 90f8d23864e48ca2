//! Reading and writing files in a sandbox, piece by piece: no file is ever held whole.

use std::time::Duration;

use bytes::Bytes;
use wire::guest::{Done, Head, Outcome, ReadFile, Request, WriteFile};
use wire::id::{SandboxId, TeamId};

use crate::content::Content;
use crate::error::{Error, Result};
use crate::finite::GivenUp;
use crate::fleet::Fleet;
use crate::nodes::{GuestAnswer, GuestEvent, NodeFailure, Upload};
use crate::sandboxes::{explain, ready};

/// How long the agent may take over one piece, or over its last word.
const PIECE_WAIT: Duration = Duration::from_secs(60);

/// Writes a file. It appears whole or not at all.
pub async fn write(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    file: WriteFile,
    content: &mut Content,
) -> Result<()> {
    content.check_announced_size()?;
    let node = ready(fleet, team, id).await?;
    let upload = node.client.guest_upload(id, &Request::WriteFile(file)).await;
    let (upload, answer) = match upload {
        Ok(call) => call,
        Err(failure) => return Err(explain(fleet, id, failure).await),
    };
    let outcome = async { last_word(answer.await?).await };
    tokio::pin!(outcome);
    let outcome = tokio::select! {
        // The last word may come early: a full disk, a forbidden place.
        outcome = &mut outcome => outcome,
        sent = send(content, upload) => match sent? {
            Ok(()) | Err(GivenUp) => bounded("the agent's last word on the file", outcome).await?,
        },
    };
    match outcome {
        Ok(Ok(Done::Write { .. })) => Ok(()),
        Ok(Ok(_)) => Err(Error::Broken("the agent answered another question".into())),
        Ok(Err(error)) => Err(Error::Guest(error)),
        Err(failure) => Err(explain(fleet, id, failure).await),
    }
}

/// Sends all of the content. Outer errors are the client's, the inner one says that the node reads no more.
async fn send(content: &mut Content, upload: Upload) -> Result<Result<(), GivenUp>> {
    while let Some(piece) = content.next().await? {
        if bounded("sending the file to the sandbox", upload.send(piece)).await?.is_err() {
            return Ok(Err(GivenUp));
        }
    }
    Ok(upload.finish().await)
}

async fn last_word(mut answer: GuestAnswer) -> Result<Outcome, NodeFailure> {
    loop {
        if let GuestEvent::End(outcome) = answer.next().await? {
            return Ok(outcome);
        }
    }
}

async fn bounded<T>(what: &'static str, wait: impl Future<Output = T>) -> Result<T> {
    let slow = |_| Error::Slow { what, seconds: PIECE_WAIT.as_secs() };
    tokio::time::timeout(PIECE_WAIT, wait).await.map_err(slow)
}

/// A file that is being read.
pub struct Reading {
    answer: GuestAnswer,
    early: Option<Outcome>,
}

/// Opens a file; returns when it is known that it can be read.
pub async fn read(fleet: &Fleet, team: &TeamId, id: &SandboxId, file: ReadFile) -> Result<Reading> {
    let node = ready(fleet, team, id).await?;
    let request = Request::ReadFile(file);
    let open = async {
        let mut answer = node.client.guest(id, &request).await?;
        let first = answer.next().await?;
        Ok((answer, first))
    };
    match bounded("opening the file", open).await? {
        Ok((answer, GuestEvent::Head(Head::File { .. }))) => Ok(Reading { answer, early: None }),
        Ok((answer, GuestEvent::End(Ok(done)))) => Ok(Reading { answer, early: Some(Ok(done)) }),
        Ok((_, GuestEvent::End(Err(error)))) => Err(Error::Guest(error)),
        Ok(_) => Err(Error::Broken("the agent did not say that the file is open".into())),
        Err(failure) => Err(explain(fleet, id, failure).await),
    }
}

impl Reading {
    /// The next piece; `None` when the file has ended as it should.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let event = match self.early.take() {
            Some(outcome) => GuestEvent::End(outcome),
            None => bounded("the next piece of the file", self.answer.next()).await??,
        };
        match event {
            GuestEvent::Data(_, bytes) => Ok(Some(bytes)),
            GuestEvent::End(Ok(Done::Read { .. })) => Ok(None),
            GuestEvent::End(Ok(_)) => Err(Error::Broken("the agent answered another question".into())),
            GuestEvent::End(Err(error)) => Err(Error::Guest(error)),
            GuestEvent::Head(_) => Err(Error::Broken("the agent opened the file twice".into())),
        }
    }
}
