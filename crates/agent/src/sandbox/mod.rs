//! Who the sandbox is: what the claim said, made true.

pub mod limit;
pub mod shims;
pub mod users;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::Rlimit;
use wire::guest::Claim;

use self::limit::ProcessLimit;
use self::users::Identity;
use crate::root::Root;
use crate::{init, report};

/// Where programs are looked for when nobody says.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every process and file operation of the sandbox shares.
pub struct Sandbox {
    /// The tree that file operations see.
    pub root: Arc<Root>,
    /// As whom things are done.
    pub identity: Arc<Identity>,
    /// Where relative paths begin; absolute.
    pub workdir: PathBuf,
    /// Bounds processes and threads; absent where the kernel offers nothing to bound them with.
    pub limit: Option<ProcessLimit>,
    /// The limit on open files that processes start with.
    pub file_limit: Rlimit,
    /// Capabilities that no process of the sandbox can have.
    pub denied_capabilities: Vec<u32>,
    env: BTreeMap<String, String>,
}

impl Sandbox {
    /// Makes the claim true. The error says which part of it cannot be.
    pub fn set_up(root: Arc<Root>, claim: Claim, file_limit: Rlimit) -> Result<Self, String> {
        let workdir = absolute_workdir(&claim.workdir)?;
        if root.is_machine() && init::is_first_process() {
            name_machine(&claim.hostname)?;
            if claim.shims.uncover_tmp {
                shims::uncover_tmp().map_err(|error| format!("uncovering /tmp: {error}"))?;
            }
        }
        let identity = users::resolve(&root, &claim.user).map_err(|error| error.message)?;
        let owner = users::may_switch().then_some((identity.uid, identity.gid));
        root.make_dirs(&workdir, owner)
            .map_err(|error| format!("making the workdir {}: {error}", workdir.display()))?;
        Ok(Self {
            limit: process_limit(&root, claim.processes_max),
            identity: Arc::new(identity),
            env: claim.env,
            denied_capabilities: users::denied_capabilities(),
            root,
            workdir,
            file_limit,
        })
    }

    /// `path`, with relative ones beginning at the workdir.
    pub fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        self.workdir.join(path)
    }

    /// Where the user's own files are: where the sandbox's environment says, or else `/etc/passwd`.
    pub fn home(&self) -> &str {
        self.env.get("HOME").filter(|home| home.starts_with('/')).unwrap_or(&self.identity.home)
    }

    /// The environment of a process of `identity`: what login sets, then the sandbox's, then the request's own.
    pub fn environment(
        &self,
        identity: &Identity,
        own: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let home = self.root.outside(Path::new(&identity.home)).to_string_lossy().into_owned();
        let login = [
            ("HOME", home),
            ("LOGNAME", identity.name.clone()),
            ("PATH", DEFAULT_PATH.into()),
            ("SHELL", identity.shell.clone()),
            ("USER", identity.name.clone()),
        ];
        let mut env: BTreeMap<String, String> =
            login.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        env.extend(self.env.clone());
        env.extend(own);
        env
    }
}

fn absolute_workdir(workdir: &str) -> Result<PathBuf, String> {
    let workdir = if workdir.is_empty() { "/" } else { workdir };
    if workdir.starts_with('/') {
        Ok(workdir.into())
    } else {
        Err(format!("the workdir {workdir} is not absolute"))
    }
}

/// Gives the machine its name.
pub fn name_machine(hostname: &str) -> Result<(), String> {
    match rustix::system::sethostname(hostname.as_bytes()) {
        // An engine that grants no such right has named the machine itself.
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(error) => Err(format!("naming the machine {hostname}: {error}")),
    }
}

fn process_limit(root: &Root, processes_max: u32) -> Option<ProcessLimit> {
    if !root.is_machine() || !init::is_first_process() {
        return None;
    }
    ProcessLimit::set(processes_max)
        .inspect_err(|error| report(&format!("processes are not limited from inside: {error}")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workdir_is_absolute_or_the_root() {
        assert_eq!(absolute_workdir("").unwrap(), Path::new("/"));
        assert_eq!(absolute_workdir("/home/user").unwrap(), Path::new("/home/user"));
        assert!(absolute_workdir("home").is_err());
    }
}
