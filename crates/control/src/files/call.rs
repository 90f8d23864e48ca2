//! Operations on files that are answered in one word.

use wire::guest::file::{Edit, FileCall, FileInfo};
use wire::guest::{Done, Request};
use wire::id::{SandboxId, TeamId};
use wire::public::file::{Edited, FileEdited};

use super::{OPERATION_WAIT, another_question, bounded};
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::pauses::ready;
use crate::sandboxes::explain;

/// Carries out an operation that has nothing to say.
pub async fn nothing(fleet: &Fleet, team: &TeamId, id: &SandboxId, call: FileCall) -> Result<()> {
    match done(fleet, team, id, call).await? {
        Done::Nothing => Ok(()),
        _ => Err(another_question()),
    }
}

/// What a path is.
pub async fn stat(fleet: &Fleet, team: &TeamId, id: &SandboxId, path: String) -> Result<FileInfo> {
    match done(fleet, team, id, FileCall::Stat { path }).await? {
        Done::Info(info) => Ok(info),
        _ => Err(another_question()),
    }
}

/// Whether something is there.
pub async fn exists(fleet: &Fleet, team: &TeamId, id: &SandboxId, path: String) -> Result<bool> {
    match done(fleet, team, id, FileCall::Exists { path }).await? {
        Done::Truth(truth) => Ok(truth),
        _ => Err(another_question()),
    }
}

/// Edits a file.
pub async fn edit(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    path: String,
    edits: Vec<Edit>,
) -> Result<Edited> {
    match done(fleet, team, id, FileCall::Edit { path, edits }).await? {
        Done::Edited(edited) => Ok(Edited { diff: edited.diff, replacements: edited.replacements }),
        _ => Err(another_question()),
    }
}

/// Edits files one after the other. What the agent says against one is said of that one, and the others are edited.
pub async fn edit_all(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    files: Vec<String>,
    what: &Edit,
) -> Result<Vec<FileEdited>> {
    let mut edited = Vec::with_capacity(files.len());
    for file in files {
        let error = match edit(fleet, team, id, file.clone(), vec![what.clone()]).await {
            Ok(_) => None,
            Err(Error::Guest(refusal)) => Some(refusal.message),
            Err(failure) => return Err(failure),
        };
        edited.push(FileEdited { file, success: error.is_none(), error });
    }
    Ok(edited)
}

async fn done(fleet: &Fleet, team: &TeamId, id: &SandboxId, call: FileCall) -> Result<Done> {
    let node = ready(fleet, team, id).await?;
    let request = Request::File(call);
    let ask = async { node.client.guest(id, &request).await?.last_word().await };
    match bounded("the operation on files", OPERATION_WAIT, ask).await? {
        Ok(outcome) => outcome.map_err(Error::Guest),
        Err(failure) => Err(explain(fleet, id, failure).await),
    }
}
