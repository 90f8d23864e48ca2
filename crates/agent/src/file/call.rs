//! Operations that are answered in one word.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;
use rustix::io::Errno;
use wire::guest::file::{FileCall, FileInfo};
use wire::guest::{Done, Error, Outcome};

use super::Files;
use super::entry::{Entry, shown};
use super::info::{Owners, describe};
use super::operations::{copy, edit, make_directory, permissions, relocate, remove};
use crate::connection::stream::Stream;
use crate::failure;
use crate::root::Root;
use crate::sandbox::Sandbox;

/// Says to a thread whether anybody waits for its operation.
#[derive(Clone, Default)]
pub struct Interest(Arc<AtomicBool>);

impl Interest {
    /// Fails if nobody waits any more.
    pub fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) { Err(failure::cancelled()) } else { Ok(()) }
    }

    fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Carries one out. One that is cancelled stops where it is.
pub async fn call(files: &Files, sandbox: &Arc<Sandbox>, stream: &Stream, call: FileCall) -> Outcome {
    let interest = Interest::default();
    let begin = async {
        // Held by the thread, to its end.
        let turn = match call {
            FileCall::Edit { .. } => files.edits.clone().acquire_owned().await.ok(),
            _ => None,
        };
        let (inside, interest) = (sandbox.clone(), interest.clone());
        let work = move || {
            let _turn = turn;
            run(&inside, call, &interest)
        };
        files.start(Some(sandbox.identity.clone()), work).await
    };
    let mut ending = tokio::select! {
        ending = begin => ending?,
        () = stream.cancelled() => return Err(failure::cancelled()),
    };
    tokio::select! {
        outcome = super::ended(&mut ending) => return outcome,
        () = stream.cancelled() => interest.end(),
    }
    super::ended(ending).await
}

/// The thread's side.
fn run(sandbox: &Sandbox, call: FileCall, interest: &Interest) -> Outcome {
    let root = &sandbox.root;
    let at = |path: String| sandbox.absolute(path);
    let nothing = |()| Done::Nothing;
    match call {
        FileCall::Stat { path } => stat(root, &at(path)).map(Done::Info),
        FileCall::Exists { path } => exists(root, &at(path)).map(Done::Truth),
        FileCall::MakeDirectory { path, recursive, mode } => {
            make_directory::make(root, &at(path), recursive, mode).map(nothing)
        }
        FileCall::Remove { path, recursive } => {
            remove::remove(root, &at(path), recursive, interest).map(nothing)
        }
        FileCall::SetPermissions { path, mode, owner, group } => {
            let wish = permissions::Wish { mode, owner, group };
            permissions::set(root, &at(path), &wish).map(nothing)
        }
        FileCall::Move { from, to, overwrite } => {
            relocate::relocate(root, &at(from), &at(to), overwrite, interest).map(nothing)
        }
        FileCall::Copy { from, to, recursive, overwrite } => {
            let how = copy::How { recursive, overwrite, keep_owner: false };
            copy::copy(root, &at(from), &at(to), how, interest).map(nothing)
        }
        FileCall::Edit { path, edits } => edit::edit(root, &at(path), &edits).map(Done::Edited),
        FileCall::CheckReadable { paths } => {
            paths.into_iter().try_for_each(|path| super::read::open(root, &at(path)).map(drop)).map(nothing)
        }
    }
}

fn stat(root: &Root, path: &Path) -> Result<FileInfo, Error> {
    let failed = |error| failure::of(path.display(), error);
    let entry = Entry::find(root, path).map_err(failed)?;
    let stat = entry.stat().map_err(failed)?;
    Ok(describe(&entry.directory, &entry.name, &stat, &shown(root, path), &Owners::read(root)))
}

fn exists(root: &Root, path: &Path) -> Result<bool, Error> {
    match root.open(path, OFlags::PATH) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
        Err(error) => Err(failure::of(path.display(), error)),
    }
}
