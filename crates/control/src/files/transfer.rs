//! Reading and writing one file.

use bytes::Bytes;
use wire::guest::{Done, Head, Outcome, ReadFile, Request, WriteFile};
use wire::id::{SandboxId, TeamId};

use super::{PIECE_WAIT, another_question, bounded};
use crate::content::Content;
use crate::error::{Error, Result};
use crate::finite::GivenUp;
use crate::fleet::Fleet;
use crate::nodes::{GuestAnswer, GuestEvent, NodeFailure, Upload};
use crate::pauses::ready;
use crate::sandboxes::explain;

/// Writes a file. It appears whole or not at all.
pub async fn write(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    file: WriteFile,
    content: &mut Content,
) -> Result<()> {
    content.check_announced_size()?;
    upload(fleet, team, id, Request::WriteFile(file), async |upload| {
        while let Some(piece) = content.next().await? {
            upload.send(piece).await?;
        }
        Ok(())
    })
    .await
}

/// Where the bytes of a request to write go.
pub struct Sink(Upload);

/// Why bytes were not sent to their end.
pub enum Stopped {
    /// The node reads no more: the agent has said, or will say, its last word.
    GivenUp,
    /// What is sent cannot be had.
    Failed(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Sink {
    /// Sends these bytes, as fast as the agent takes them.
    pub async fn send(&self, bytes: Bytes) -> Result<(), Stopped> {
        taken(self.0.send(bytes)).await
    }

    async fn finish(self) -> Result<(), Stopped> {
        taken(self.0.finish()).await
    }
}

async fn taken(sent: impl Future<Output = Result<(), GivenUp>>) -> Result<(), Stopped> {
    let sent = bounded("sending the file to the sandbox", PIECE_WAIT, sent).await?;
    sent.map_err(|GivenUp| Stopped::GivenUp)
}

/// Asks for something to be written, and sends what `feed` gives.
pub async fn upload(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    request: Request,
    feed: impl AsyncFnOnce(&Sink) -> Result<(), Stopped>,
) -> Result<()> {
    let node = ready(fleet, team, id).await?;
    let (upload, answer) = match node.client.guest_upload(id, &request).await {
        Ok(call) => call,
        Err(failure) => return Err(explain(fleet, id, failure).await),
    };
    let outcome = async { last_word(answer.await?).await };
    match exchange(Sink(upload), feed, outcome).await? {
        Ok(Ok(Done::Write { .. })) => Ok(()),
        Ok(Ok(_)) => Err(another_question()),
        Ok(Err(error)) => Err(Error::Guest(error)),
        Err(failure) => Err(explain(fleet, id, failure).await),
    }
}

/// Sends what `feed` gives and its end, and waits for the last word.
///
/// Nothing is read of what is sent unless `outcome` is polled, which connects to the node.
async fn exchange(
    sink: Sink,
    feed: impl AsyncFnOnce(&Sink) -> Result<(), Stopped>,
    outcome: impl Future<Output = Result<Outcome, NodeFailure>>,
) -> Result<Result<Outcome, NodeFailure>> {
    tokio::pin!(outcome);
    let feeding = async {
        feed(&sink).await?;
        sink.finish().await
    };
    tokio::select! {
        // The last word may come early: a full disk, a forbidden place.
        outcome = &mut outcome => Ok(outcome),
        fed = feeding => match fed {
            // If nobody reads it any more, the last word is on its way.
            Ok(()) | Err(Stopped::GivenUp) => {
                bounded("the agent's last word on the file", PIECE_WAIT, outcome).await
            }
            Err(Stopped::Failed(error)) => Err(error),
        },
    }
}

async fn last_word(mut answer: GuestAnswer) -> Result<Outcome, NodeFailure> {
    loop {
        if let GuestEvent::End(outcome) = answer.next().await? {
            return Ok(outcome);
        }
    }
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
    match bounded("opening the file", PIECE_WAIT, open).await? {
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
            None => bounded("the next piece of the file", PIECE_WAIT, self.answer.next()).await??,
        };
        match event {
            GuestEvent::Data(_, bytes) => Ok(Some(bytes)),
            GuestEvent::End(Ok(Done::Read { .. })) => Ok(None),
            GuestEvent::End(Ok(_)) => Err(another_question()),
            GuestEvent::End(Err(error)) => Err(Error::Guest(error)),
            GuestEvent::Head(_) => Err(Error::Broken("the agent opened the file twice".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite::{PIECES_MAX, finite_body};
    use http_body_util::BodyExt;

    /// As much as waits to be sent, so that the end finds no room.
    async fn fill(sink: &Sink) -> Result<(), Stopped> {
        for _ in 0..PIECES_MAX {
            sink.send(Bytes::from_static(b"piece")).await?;
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_file_may_find_no_room_before_the_node_is_connected_to() {
        let (feeder, body) = finite_body();
        let outcome = async {
            tokio::task::yield_now().await;
            body.collect().await.map_err(|error| NodeFailure::Unreachable(error.into()))?;
            Ok(Ok(Done::Write { bytes: 0 }))
        };
        let outcome = exchange(Sink(Upload(feeder)), fill, outcome).await.unwrap();
        assert!(matches!(outcome, Ok(Ok(Done::Write { .. }))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_never_reads_the_end_of_a_file_is_given_up() {
        let (feeder, _unread) = finite_body();
        let given_up = exchange(Sink(Upload(feeder)), fill, std::future::pending()).await;
        assert!(matches!(given_up, Err(Error::Slow { .. })));
    }
}
