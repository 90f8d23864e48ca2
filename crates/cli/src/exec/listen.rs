//! What a program says, passed on as it comes, and how it ends.

use std::io::{self, Write};

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wire::public::process::{ProcessEvent, ProcessEventKind};

use crate::client::{Events, OUR_FAILURE};
use crate::output::{note, pass_on};

/// Passes on what a program says until it ends; its exit code.
///
/// # Errors
/// When it is not known how it ended, or nobody takes what it says.
pub async fn listen(events: &mut Events) -> Result<u8> {
    while let Some(event) = events.next::<ProcessEvent>().await? {
        if let Some(code) = show(event.event)? {
            return Ok(code);
        }
    }
    bail!("the stream ended before the command did")
}

/// Passes one event on. The exit code, if it was the last.
///
/// # Errors
/// When the stream is over without an end, or nobody takes what the program says.
pub fn show(event: ProcessEventKind) -> Result<Option<u8>> {
    match event {
        ProcessEventKind::Started { .. } => {}
        ProcessEventKind::Gap { missed } => {
            note(&format!("atoll: {missed} pieces of the output are no longer kept"));
        }
        ProcessEventKind::Stdout { data } => pass_on(&STANDARD.decode(data)?)?,
        ProcessEventKind::Stderr { data } => complain(&STANDARD.decode(data)?)?,
        ProcessEventKind::Exit { exit_code, how, .. } => {
            say_how(&how);
            return Ok(Some(code(exit_code)));
        }
        ProcessEventKind::Error { message, .. } => bail!(message),
    }
    Ok(None)
}

/// An exit code as ours.
pub fn code(exit_code: i32) -> u8 {
    u8::try_from(exit_code).unwrap_or(OUR_FAILURE)
}

fn say_how(how: &str) {
    match how {
        "timeout" => note("atoll: the command was killed: its time was up"),
        "out_of_memory" => note("atoll: the command was killed: the sandbox ran out of memory"),
        _ => {}
    }
}

fn complain(bytes: &[u8]) -> io::Result<()> {
    let mut err = io::stderr().lock();
    err.write_all(bytes)?;
    err.flush()
}
