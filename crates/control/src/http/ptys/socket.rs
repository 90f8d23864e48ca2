//! A viewed terminal as a WebSocket: raw bytes both ways, nothing held back, nothing gathered.
//!
//! Whoever does not take what is shown holds up the program, not the server; the agent lets a
//! viewer go who stalls. Whoever is silent, pongs included, is taken for gone.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use wire::guest::{Done, ErrorCode, ExecEnd, Outcome};

use super::super::App;
use crate::error::Error;
use crate::nodes::{GuestAnswer, GuestEvent, Upload};
use crate::processes::exit_code;
use crate::ptys::{Viewing, Which};
use crate::sandboxes::{explain, leaving};
use crate::sockets::Place;

/// A message of a client's, in bytes, at most.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// What may wait to be written to a client, in bytes, at most.
const WRITE_BYTES_MAX: usize = 1024 * 1024;
/// Time between two pings of ours.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// A client who says nothing for so long, pongs included, is gone.
const SILENCE: Duration = Duration::from_secs(75);
/// Close code: the sandbox has ended, and the terminal with it (private use, RFC 6455, 7.4.2; after HTTP's 410).
const SANDBOX_GONE: u16 = 4410;
/// For a client to answer our close.
const CLOSE_WAIT: Duration = Duration::from_secs(3);
/// A close frame's reason, in bytes, at most (RFC 6455).
const REASON_BYTES_MAX: usize = 123;

/// Bounds what is kept of a connection, and holds nothing back.
pub fn bounded(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BYTES_MAX)
}

/// Carries bytes until the program ends, the client leaves or the server stops.
pub async fn bridge(app: App, which: Which, mut place: Place, viewing: Viewing, socket: WebSocket) {
    let Viewing { input, output } = viewing;
    let (mut sink, mut stream) = socket.split();
    let farewell = tokio::select! {
        farewell = show(&app, &which, output, &mut sink) => farewell,
        () = type_in(input, &mut stream) => None,
        () = place.closing() => Some(close(close_code::AWAY, "the server stops; connect again".into())),
    };
    if let Some(farewell) = farewell {
        let leave = async {
            if sink.send(Message::Close(Some(farewell))).await.is_ok() {
                while let Some(Ok(_)) = stream.next().await {}
            }
        };
        // A client who does not answer is left without.
        let _ = tokio::time::timeout(CLOSE_WAIT, leave).await;
    }
}

/// What is shown, and pings. Says how it ended; nothing if the client is gone.
async fn show(
    app: &App,
    which: &Which,
    mut output: GuestAnswer,
    sink: &mut SplitSink<WebSocket, Message>,
) -> Option<CloseFrame> {
    let mut ping = tokio::time::interval(PING_INTERVAL);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ping.reset();
    loop {
        let message = tokio::select! {
            event = output.next() => match event {
                Ok(GuestEvent::Data(_, bytes)) => Message::Binary(bytes),
                Ok(GuestEvent::End(Ok(Done::Exec(end)))) if end.signal.is_some() => return Some(killed(app, which, end).await),
                Ok(GuestEvent::End(outcome)) => return Some(ended(outcome)),
                Ok(GuestEvent::Head(_)) => return Some(failed(&Error::Broken("the agent said twice that the terminal is viewed".into()))),
                Err(failure) => return Some(failed(&explain(app, &which.sandbox, failure).await)),
            },
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        sink.send(message).await.ok()?;
    }
}

/// What is typed, until the client leaves.
async fn type_in(input: Upload, stream: &mut SplitStream<WebSocket>) {
    while let Ok(Some(Ok(message))) = tokio::time::timeout(SILENCE, stream.next()).await {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return,
        };
        if input.send(bytes).await.is_err() {
            // The node reads no more; what it says last is shown.
            return std::future::pending().await;
        }
    }
}

/// How the program ended, in words that programs can read too: `exit_code=0`, `exit_code=143 signal=15`.
fn ended(outcome: Outcome) -> CloseFrame {
    match outcome {
        Ok(Done::Exec(end)) => match exit_code(&end) {
            Ok(code) => {
                let signal = end.signal.map(|signal| format!(" signal={signal}")).unwrap_or_default();
                close(close_code::NORMAL, format!("exit_code={code}{signal}"))
            }
            Err(error) => failed(&error),
        },
        Ok(_) => failed(&Error::Broken("the agent answered another question".into())),
        Err(error) if error.code == ErrorCode::Stalled => close(close_code::POLICY, error.message),
        Err(error) => failed(&Error::Guest(error)),
    }
}

/// A signal ended the program: its own end, or one of the last things a sandbox did.
async fn killed(app: &App, which: &Which, end: ExecEnd) -> CloseFrame {
    match leaving(app, &which.sandbox).await {
        Ok(None) => ended(Ok(Done::Exec(end))),
        Ok(Some(error)) | Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> CloseFrame {
    let code = match error {
        Error::SandboxDeleting { .. } | Error::SandboxDeleted { .. } => SANDBOX_GONE,
        _ => close_code::ERROR,
    };
    close(code, error.to_string())
}

fn close(code: u16, mut reason: String) -> CloseFrame {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    CloseFrame { code, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::guest::{ExecCause, ExecEnd};

    fn check(exit_code: Option<i32>, signal: Option<i32>, expect: (u16, &str)) {
        let frame = ended(Ok(Done::Exec(ExecEnd { exit_code, signal, cause: ExecCause::Itself })));
        assert_eq!((frame.code, frame.reason.as_str()), expect);
    }

    #[test]
    fn an_end_is_told_and_never_invented() {
        check(Some(7), None, (1000, "exit_code=7"));
        check(None, Some(15), (1000, "exit_code=143 signal=15"));
        let unknown =
            ended(Ok(Done::Exec(ExecEnd { exit_code: None, signal: None, cause: ExecCause::Itself })));
        assert_eq!(unknown.code, 1011);
        assert!(close(1000, "ü".repeat(100)).reason.len() <= REASON_BYTES_MAX);
    }
}
