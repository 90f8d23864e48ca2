//! Several files in one request, as [`wire::guest::bundle`] has them.

use bytes::{Bytes, BytesMut};
use wire::guest::bundle::{Decoder, FileHeader, Part, encode};
use wire::guest::file::FileCall;
use wire::guest::{Done, Request};
use wire::id::{SandboxId, TeamId};

use super::multipart::{Event, Malformed, Parser};
use super::transfer::{Sink, Stopped, upload};
use super::{PIECE_WAIT, another_question, bounded};
use crate::content::Content;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::http::path_error;
use crate::nodes::{GuestAnswer, GuestEvent};
use crate::pauses::ready;
use crate::sandboxes::explain;

/// Writes the files of a multipart body, each under its field's name. Those before one that fails stay.
pub async fn write_all(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    mut parser: Parser,
    content: &mut Content,
) -> Result<()> {
    content.check_announced_size()?;
    upload(fleet, team, id, Request::WriteFiles, async |sink| {
        while let Some(bytes) = content.next().await? {
            parser.feed(&bytes);
            pass_on(&mut parser, sink).await?;
        }
        if parser.is_complete() {
            return Ok(());
        }
        Err(Error::Body("the multipart body ends before its last boundary".into()).into())
    })
    .await
}

/// Waits for the sandbox to be there, and says if it is not.
pub async fn check_there(fleet: &Fleet, team: &TeamId, id: &SandboxId) -> Result<()> {
    ready(fleet, team, id).await.map(drop)
}

async fn pass_on(parser: &mut Parser, sink: &Sink) -> Result<(), Stopped> {
    let malformed = |error: Malformed| Error::Body(error.to_string());
    let mut out = BytesMut::new();
    while let Some(event) = parser.next_event().map_err(malformed)? {
        match event {
            Event::Part(path) => match path_error(&path) {
                None => encode(&Part::File(FileHeader { path, mode: None }), &mut out),
                Some(error) => return Err(Error::field("name", error).into()),
            },
            Event::Data(bytes) => encode(&Part::Piece(bytes), &mut out),
            Event::PartEnd => encode(&Part::End, &mut out),
            Event::End => {}
        }
        sink.send(out.split().freeze()).await?;
    }
    Ok(())
}

/// Files that are being read.
pub struct ReadingAll {
    answer: GuestAnswer,
    decoder: Decoder,
    /// Those that have not begun, the last first.
    left: Vec<String>,
}

/// Opens files; returns when it is known that all can be read.
pub async fn read_all(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    mut paths: Vec<String>,
) -> Result<ReadingAll> {
    super::nothing(fleet, team, id, FileCall::CheckReadable { paths: paths.clone() }).await?;
    let node = ready(fleet, team, id).await?;
    let request = Request::ReadFiles { paths: paths.clone() };
    match node.client.guest(id, &request).await {
        Ok(answer) => {
            paths.reverse();
            Ok(ReadingAll { answer, decoder: Decoder::default(), left: paths })
        }
        Err(failure) => Err(explain(fleet, id, failure).await),
    }
}

/// Something of files that are being read.
pub enum Piece {
    /// This one begins.
    File(String),
    /// Bytes of it.
    Data(Bytes),
}

impl ReadingAll {
    /// What comes next; `None` when all files have ended as they should.
    pub async fn next(&mut self) -> Result<Option<Piece>> {
        loop {
            while let Some(part) = self.decoder.next_part().map_err(|error| Error::Broken(error.into()))? {
                match (part, self.left.last()) {
                    (Part::Piece(bytes), _) => return Ok(Some(Piece::Data(bytes))),
                    (Part::End, _) => {}
                    (Part::File(header), Some(path)) if header.path == *path => {
                        return Ok(self.left.pop().map(Piece::File));
                    }
                    (Part::File(_), _) => return Err(another_question()),
                }
            }
            match bounded("the next piece of the files", PIECE_WAIT, self.answer.next()).await?? {
                GuestEvent::Data(_, bytes) => self.decoder.feed(&bytes),
                GuestEvent::End(Ok(Done::Read { .. })) if self.is_complete() => return Ok(None),
                GuestEvent::End(Err(error)) => return Err(Error::Guest(error)),
                GuestEvent::End(Ok(_)) | GuestEvent::Head(_) => return Err(another_question()),
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.left.is_empty() && self.decoder.is_complete()
    }
}
