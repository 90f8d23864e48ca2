//! A program in a terminal of the sandbox's, at which the one who sits at ours sits.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use http::Method;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use wire::id::PtyId;
use wire::public::pty::{CreatePty, ResizePty};

use super::Input;
use crate::client::{Closed, Session, Shown, Socket, Typist, pieces};
use crate::entropy;
use crate::interrupts::Interrupts;
use crate::output::pass_on;
use crate::terminal::{self, Raw, Size};

/// For the server to close a terminal that has ended, or whose program is to end.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// Close code of a program that ended (RFC 6455: normal).
const NORMAL: u16 = 1000;
/// Close code of a server that stops (RFC 6455: going away).
const AWAY: u16 = 1001;
/// Close code of a sandbox that ended, and the terminal with it.
const SANDBOX_GONE: u16 = 4410;

/// Makes a terminal, sits at it until its program ends, and closes it; the exit code is the program's.
///
/// # Errors
/// When our standard input is no terminal, the program cannot be started, or it is not known how it ended.
pub async fn attend(session: &Session, sandbox: &str, order: CreatePty, input: Input) -> Result<ExitCode> {
    terminal::required()?;
    let mut interrupts = Interrupts::new()?;
    // Listened to before the size is looked at: no change is missed.
    let resized = signal(SignalKind::window_change())?;
    let size = terminal::size();
    // An id of our own: it can be closed although nobody was there to hear that it was made.
    let id = PtyId::from_entropy(entropy::bytes()?).to_string();
    let base = format!("/v1/sandbox/{sandbox}/pty");
    let pty = format!("{base}/{id}");
    let order = CreatePty {
        id: Some(id),
        cols: size.map(|size| size.cols),
        rows: size.map(|size| size.rows),
        // Its program waits for the connection, so that its first words are seen as it says them.
        lazy_start: Some(true),
        ..order
    };
    let sitting = async {
        session.client.order(Method::POST, &base, &order).await?;
        sit(session, &pty, input, resized).await
    };
    let code = tokio::select! {
        code = sitting => code,
        code = interrupts.next() => Ok(code),
    };
    // One that has ended is of no use, and nobody would ever end the others.
    let _ = tokio::time::timeout(CLOSE_WAIT, session.client.delete(&pty)).await;
    code.map(ExitCode::from)
}

async fn sit(session: &Session, pty: &str, input: Input, resized: Signal) -> Result<u8> {
    let Socket { typist, shown } = session.client.socket(&format!("{pty}/connect")).await?;
    // Ours again before anything is said of how it ended.
    let _raw = if input == Input::Ours { Some(Raw::new()?) } else { None };
    tokio::select! {
        code = show(shown) => code,
        error = type_in(typist, input) => Err(error),
        never = follow_size(session, pty, resized) => match never {},
    }
}

/// Shows what the program says until it ends.
async fn show(mut shown: Shown) -> Result<u8> {
    loop {
        match shown.next().await? {
            Ok(bytes) => pass_on(&bytes)?,
            Err(closed) => return exit_code(&closed),
        }
    }
}

/// Passes on what is typed. Returns only when our terminal cannot be read.
async fn type_in(mut typist: Typist, input: Input) -> anyhow::Error {
    let mut keys = keys(input);
    while let Some(piece) = keys.recv().await {
        let taken = match piece {
            Ok(bytes) => typist.type_in(bytes).await,
            Err(error) => return error.into(),
        };
        // How the connection ended is seen where it is read.
        if !taken {
            break;
        }
    }
    std::future::pending().await
}

fn keys(input: Input) -> mpsc::Receiver<io::Result<Bytes>> {
    match input {
        Input::Ours => pieces(io::stdin()),
        Input::None => mpsc::channel(1).1,
    }
}

/// Tells the size of our terminal whenever it changes.
async fn follow_size(session: &Session, pty: &str, mut resized: Signal) -> std::convert::Infallible {
    while resized.recv().await.is_some() {
        if let Some(Size { cols, rows }) = terminal::size() {
            // A size the server does not allow, or a program that has just ended: neither ends the session.
            let _ =
                session.client.order(Method::POST, &format!("{pty}/resize"), &ResizePty { cols, rows }).await;
        }
    }
    std::future::pending().await
}

/// The program's exit code, as the server's close says it: `exit_code=143 signal=15`.
fn exit_code(closed: &Closed) -> Result<u8> {
    let told = closed.reason.split(' ').find_map(|word| word.strip_prefix("exit_code=")?.parse().ok());
    match (closed.code, told) {
        (NORMAL, Some(code)) => Ok(super::listen::code(code)),
        (SANDBOX_GONE, _) => bail!("the sandbox has ended, and the command with it: {}", closed.reason),
        (AWAY, _) => bail!("it is not known how the command ended: {}", closed.reason),
        _ => bail!("the terminal was closed before the command ended: {}", closed.reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: u16, reason: &str, expect: Option<u8>) {
        let closed = Closed { code, reason: reason.to_owned() };
        assert_eq!(exit_code(&closed).ok(), expect, "{closed:?}");
    }

    #[test]
    fn an_exit_code_is_read_and_never_invented() {
        check(1000, "exit_code=0", Some(0));
        check(1000, "exit_code=143 signal=15", Some(143));
        check(1000, "exit_code=300", Some(125));
        for (code, reason) in
            [(1000, ""), (1000, "exit_code="), (1011, "exit_code=0"), (4410, "it ended"), (1001, "")]
        {
            check(code, reason, None);
        }
    }
}
