//! One stream that listens to a process.

use wire::guest::process::STALL_SECONDS_MAX;
use wire::guest::{Done, Error, ErrorCode, Head, Outcome};

use super::kept::{Listener, Next};
use crate::connection::stream::Stream;
use crate::failure;

/// Sends what the listener is told, each piece whole, until the process's end or until nobody wants to hear more.
pub async fn talk(listener: Listener, pid: i32, stream: &Stream) -> Outcome {
    tokio::select! {
        biased;
        () = stream.cancelled() => Err(failure::cancelled()),
        () = listener.let_go() => Err(stalled()),
        outcome = send_all(&listener, pid, stream) => outcome,
    }
}

async fn send_all(listener: &Listener, pid: i32, stream: &Stream) -> Outcome {
    stream.head(&Head::Attached { pid: pid as u32, from: listener.from() }).await;
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
