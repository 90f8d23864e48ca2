//! Where the directories of a sandbox are.

use std::time::Duration;

use wire::guest::{Done, Request, Whoami};
use wire::id::{SandboxId, TeamId};
use wire::public::sandbox::{UserHomeDir, Workdir};

use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::pauses::ready;
use crate::sandboxes::explain;

/// How long the agent may take to say what it knows.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// The home of its user.
pub async fn home(fleet: &Fleet, team: &TeamId, id: &SandboxId) -> Result<UserHomeDir> {
    Ok(UserHomeDir { user_home_dir: whoami(fleet, team, id).await?.home })
}

/// Where its processes start.
pub async fn workdir(fleet: &Fleet, team: &TeamId, id: &SandboxId) -> Result<Workdir> {
    Ok(Workdir { workdir: whoami(fleet, team, id).await?.workdir })
}

async fn whoami(fleet: &Fleet, team: &TeamId, id: &SandboxId) -> Result<Whoami> {
    let node = ready(fleet, team, id).await?;
    let ask = async { node.client.guest(id, &Request::Whoami).await?.last_word().await };
    let slow = |_| Error::Slow { what: "the agent's word on its user", seconds: ANSWER_WAIT.as_secs() };
    match tokio::time::timeout(ANSWER_WAIT, ask).await.map_err(slow)? {
        Ok(Ok(Done::Whoami(whoami))) => Ok(whoami),
        Ok(Ok(_)) => Err(Error::Broken("the agent answered another question".into())),
        Ok(Err(refusal)) => Err(Error::Guest(refusal)),
        Err(failure) => Err(explain(fleet, id, failure).await),
    }
}
