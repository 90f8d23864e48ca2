//! `atoll sandbox cp`.

mod end;
mod inward;
mod outward;
mod progress;
mod remote;
mod target;

use std::process::ExitCode;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory};
use serde_json::json;

use crate::client::{Ask, Failure, Session};
use crate::interrupts::Interrupts;
use end::End;
use progress::Progress;
use remote::Remote;

/// Permission bits that are kept: not those that make a program somebody else's.
const MODE_BITS: u32 = 0o777;

/// Files of a directory copied at once.
const AT_ONCE: usize = 8;

/// Copies files and directories into a sandbox or out of it.
///
/// Directories are copied with all that is in them, files change when all of them has come, and permission bits are kept.
/// A directory goes below a target that is there, and becomes one that is not; its contents alone are meant by `DIR/.`.
/// Links and special files in a directory are left out, with a note: a link that is named itself is followed. What
/// cannot be copied is told, and the rest is copied all the same; the exit code is then 1.
#[derive(Debug, Args)]
pub struct Cp {
    /// What: a path here, or ID:PATH in a sandbox, or `-`, standard input as a file.
    source: End,
    /// Where to: ID:PATH in a sandbox, or a path here, or `-`, a file on standard output.
    target: End,
}

/// What was copied.
#[derive(Debug, Default)]
struct Tally {
    /// Links and special files.
    skipped: u64,
    /// What could not be copied.
    failed: u64,
}

impl Ask for Cp {
    async fn ask(self, session: &Session) -> Result<ExitCode> {
        let progress = Progress::new();
        let mut interrupts = Interrupts::new()?;
        // What is half written is removed where the copying ends.
        let tally = tokio::select! {
            tally = copy(session, &self.source, &self.target, &progress) => tally?,
            code = interrupts.next() => return Ok(ExitCode::from(code)),
        };
        progress.finish();
        if session.output.is_json() && self.target != End::Stream {
            let (files, bytes) = progress.sums();
            let sums =
                json!({ "files": files, "bytes": bytes, "skipped": tally.skipped, "failed": tally.failed });
            session.output.value(&sums)?;
        }
        Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn copy(session: &Session, source: &End, target: &End, progress: &Progress) -> Result<Tally> {
    match (source, target) {
        (End::Here(path), End::There(place)) => {
            inward::path(&Remote::of(session, place).await?, path, place, progress).await
        }
        (End::Stream, End::There(place)) => {
            inward::stream(&Remote::of(session, place).await?, place, progress).await
        }
        (End::There(place), End::Here(path)) => {
            outward::path(&Remote::of(session, place).await?, place, path, progress).await
        }
        (End::There(place), End::Stream) => outward::stream(&Remote::of(session, place).await?, place).await,
        _ => senseless("one of the two must be ID:PATH, a sandbox and a path in it, and the other must not"),
    }
}

/// Ends as other command lines do that make no sense.
fn senseless(why: &str) -> ! {
    crate::Atoll::command().error(ErrorKind::ValueValidation, why).exit()
}

impl Tally {
    /// Tells of one that could not be copied, unless that is the end of everything.
    fn take(&mut self, what: &str, outcome: Result<()>, progress: &Progress) -> Result<()> {
        let Err(error) = outcome else { return Ok(()) };
        if matches!(error.downcast_ref(), Some(Failure::Unreachable { .. } | Failure::Broken { .. })) {
            return Err(error);
        }
        self.failed += 1;
        progress.note(&format!("atoll: {what}: {error:#}"));
        Ok(())
    }

    /// Tells of one that is left out.
    fn skip(&mut self, what: &str, why: &str, progress: &Progress) {
        self.skipped += 1;
        progress.note(&format!("atoll: left out: {what}: {why}"));
    }
}
