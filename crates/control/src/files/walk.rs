//! Walks over the files of a sandbox, whose findings are written out as JSON as they come.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use wire::guest::file::{FileInfo, Match, Node, Walk};
use wire::guest::{Done, Request};
use wire::id::{SandboxId, TeamId};

use super::lines::{Lines, read};
use super::tree::Nest;
use super::{OPERATION_WAIT, another_question};
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::nodes::{GuestAnswer, GuestEvent};
use crate::pauses::ready;
use crate::sandboxes::explain;

/// What is found.
enum Finds {
    Files,
    Paths,
    Matches,
    Steps(Nest),
}

/// A walk under way.
pub struct Walking {
    answer: GuestAnswer,
    lines: Lines,
    finds: Finds,
    is_first: bool,
    early: Option<GuestEvent>,
    silence: Duration,
}

/// Some of the answer's body.
pub enum Told {
    /// This.
    Some(Bytes),
    /// Nothing was found for a while; the walk goes on.
    NothingYet,
    /// This, and then no more.
    Last(Bytes),
}

/// Begins a walk. Returns when something is found, when it is over, or when nothing is known for `patience`.
pub async fn walk(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    walk: Walk,
    patience: Duration,
) -> Result<Walking> {
    let finds = match &walk {
        Walk::List { .. } => Finds::Files,
        Walk::Glob { .. } => Finds::Paths,
        Walk::Grep { .. } => Finds::Matches,
        Walk::Tree { .. } => Finds::Steps(Nest::default()),
    };
    let node = ready(fleet, team, id).await?;
    let mut answer = match node.client.guest(id, &Request::Walk(walk)).await {
        Ok(answer) => answer,
        Err(failure) => return Err(explain(fleet, id, failure).await),
    };
    let early = match tokio::time::timeout(patience, answer.next()).await {
        Err(_) => None,
        Ok(Ok(GuestEvent::End(Err(refusal)))) => return Err(Error::Guest(refusal)),
        Ok(Ok(event)) => Some(event),
        Ok(Err(failure)) => return Err(explain(fleet, id, failure).await),
    };
    Ok(Walking { answer, lines: Lines::default(), finds, is_first: true, early, silence: Duration::ZERO })
}

impl Walking {
    /// What comes next of `{"items": […]}`, waiting for so long.
    pub async fn next(&mut self, patience: Duration) -> Result<Told> {
        let event = match self.early.take() {
            Some(event) => event,
            None => match tokio::time::timeout(patience, self.answer.next()).await {
                Ok(event) => event?,
                Err(_) => return self.nothing_yet(patience),
            },
        };
        self.silence = Duration::ZERO;
        let mut out = Vec::new();
        match event {
            GuestEvent::Data(_, bytes) => {
                self.lines.feed(&bytes);
                while let Some(line) = self.lines.next_line()? {
                    self.write(&line, &mut out)?;
                }
                Ok(Told::Some(out.into()))
            }
            GuestEvent::End(Ok(Done::Walked { .. })) if self.lines.is_empty() => {
                self.begin(&mut out);
                if let Finds::Steps(nest) = &mut self.finds {
                    nest.close(0, &mut out);
                }
                out.extend_from_slice(b"]}");
                Ok(Told::Last(out.into()))
            }
            GuestEvent::End(Err(refusal)) => Err(Error::Guest(refusal)),
            GuestEvent::End(Ok(_)) | GuestEvent::Head(_) => Err(another_question()),
        }
    }

    fn nothing_yet(&mut self, patience: Duration) -> Result<Told> {
        self.silence += patience;
        if self.silence < OPERATION_WAIT {
            return Ok(Told::NothingYet);
        }
        Err(Error::Slow { what: "looking for files", seconds: OPERATION_WAIT.as_secs() })
    }

    /// Nothing the agent says goes out unread.
    fn write(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let is_first = self.is_first;
        self.begin(out);
        if let Finds::Steps(nest) = &mut self.finds {
            let node: Node = read(line)?;
            return nest.write(&node, out).map_err(|astray| Error::Broken(astray.into()));
        }
        if !is_first {
            out.push(b',');
        }
        match self.finds {
            Finds::Files => put(&read::<FileInfo>(line)?, out),
            Finds::Paths => put(&read::<String>(line)?, out),
            Finds::Matches => put(&read::<Match>(line)?, out),
            Finds::Steps(_) => Ok(()),
        }
    }

    /// Writes what stands before the first.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.is_first) {
            out.extend_from_slice(br#"{"items":["#);
        }
    }
}

fn put(value: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(out, value).map_err(|error| Error::internal("cannot write JSON", error))
}
