//! One stream that listens to a process.

use std::rc::Rc;

use wire::guest::process::STALL_SECONDS_MAX;
use wire::guest::{Done, Error, ErrorCode, Head, Outcome};

use super::exec::beside;
use super::input::Input;
use super::kept::{Kept, Listener, Next};
use crate::agent::Agent;
use crate::connection::stream::Stream;
use crate::failure;

/// What a stream is told, and how far that is: enough to go on in another one.
pub struct Hearing {
    /// Where it is.
    pub listener: Listener,
    /// What comes first, unless it was said.
    pub head: Option<Head>,
    /// Where the stream's Data goes.
    pub input: Option<Input>,
    /// Whether the process is killed with its stream. If so, it waits for it for ever.
    pub is_owner: bool,
}

impl Hearing {
    /// Somebody begins to listen.
    pub fn of(listener: Listener) -> Self {
        let head = Head::Attached { pid: listener.kept().card.pid as u32, from: listener.from() };
        Self { listener, head: Some(head), input: None, is_owner: false }
    }

    /// The process that is listened to.
    pub fn kept(&self) -> &Rc<Kept> {
        self.listener.kept()
    }

    /// Sends what the listener is told, each piece whole, until the process's end or until nobody wants to hear more.
    pub async fn talk(mut self, agent: &Agent, stream: &Stream) -> Outcome {
        let presence = agent.parting.enter(self.is_owner);
        self.listener.set_dear(self.is_owner);
        tokio::select! {
            biased;
            () = stream.cancelled() => self.leave().await,
            () = self.listener.let_go() => Err(stalled()),
            () = presence.asked() => agent.parting.leave(self, stream),
            outcome = say_all(&self.listener, &mut self.head, &mut self.input, stream) => outcome,
        }
    }

    /// Nobody wants to hear more.
    async fn leave(self) -> Outcome {
        if !self.is_owner {
            return Err(failure::cancelled());
        }
        self.kept().discard();
        Ok(Done::Exec(self.kept().ended().await))
    }
}

async fn say_all(
    listener: &Listener,
    head: &mut Option<Head>,
    input: &mut Option<Input>,
    stream: &Stream,
) -> Outcome {
    if let Some(first) = head {
        stream.head(first).await;
        *head = None;
    }
    let feeding = async {
        if let Some(input) = input {
            input.feed(stream).await;
        }
    };
    beside(feeding, say_pieces(listener, stream)).await
}

async fn say_pieces(listener: &Listener, stream: &Stream) -> Outcome {
    loop {
        match listener.next().await {
            Next::Piece(bytes) => {
                // Only what may be sent is taken: until then the process waits, and not the agent's memory.
                let leave = stream.leave_for(bytes).await.ok_or_else(failure::cancelled)?;
                let (channel, piece) = listener.take().ok_or_else(stalled)?;
                leave.send(channel, piece);
            }
            Next::End(end) => return Ok(Done::Exec(end)),
            Next::LetGo => return Err(stalled()),
        }
    }
}

fn stalled() -> Error {
    let message = format!(
        "this listener took nothing for {STALL_SECONDS_MAX} s while the process waited for it; listen again from the last \
         piece it has"
    );
    Error::new(ErrorCode::Stalled, message)
}
