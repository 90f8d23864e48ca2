//! Who the sandbox's user is.

use wire::guest::{Done, Outcome, Whoami};

use crate::sandbox::Sandbox;

/// The sandbox's user, in the words of this root: what the environment says of the home beats `/etc/passwd`, as it does
/// for every process.
pub fn whoami(sandbox: &Sandbox) -> Outcome {
    let identity = &sandbox.identity;
    Ok(Done::Whoami(Whoami {
        user: identity.name.clone(),
        uid: identity.uid,
        gid: identity.gid,
        home: sandbox.home().to_owned(),
        workdir: sandbox.workdir.to_string_lossy().into_owned(),
    }))
}
