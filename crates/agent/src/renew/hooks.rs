//! Programs that a sandbox's owner has put there to be run whenever it goes on from a checkpoint.
//!
//! They run as root. So none is run that anybody else could have put there.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;
use tokio::time::Instant;
use wire::guest::renew::{
    HOOK_SECONDS_MAX, HOOKS_DIRECTORY, HOOKS_MAX, HOOKS_SECONDS_MAX, HookEnd, RenewKind, SAID_BYTES_MAX,
};
use wire::guest::{Command, Exec, ExecCause};

use super::Notes;
use crate::agent::{Agent, Claimed};
use crate::failure;
use crate::file::Directory;
use crate::process::begin;
use crate::root::Root;
use crate::sandbox::users;

/// What they are called where processes have names; nobody can find them by it.
const PROCESS_ID: &str = "on-restore";
/// What was killed has so long to end, in seconds.
const KILL_SECONDS_MAX: u64 = 2;
/// Names of the directory that are looked at, in bytes.
const NAMES_BYTES_MAX: usize = 64 * 1024;
/// Bits of a mode: somebody may run it; its group may write it; everybody may.
const RUN: u32 = 0o111;
const WRITE_GROUP: u32 = 0o020;
const WRITE_ALL: u32 = 0o002;

/// What is to be run, in this order.
#[derive(Default)]
pub struct Hooks(Vec<PathBuf>);

/// What they are told.
pub struct Setting {
    /// As what the sandbox goes on.
    pub kind: RenewKind,
    /// Its name.
    pub hostname: String,
    /// Its generation.
    pub generation_id: String,
}

impl Hooks {
    /// Those that are there. What is there and not to be run is noted.
    pub fn find(root: &Root, notes: &mut Notes) -> Self {
        let found = match Directory::open(root, Path::new(HOOKS_DIRECTORY)) {
            // Most sandboxes have none.
            Err(Errno::NOENT) => return Self::default(),
            found => found.and_then(|directory| Ok((rustix::fs::fstat(directory.fd())?, directory))),
        };
        let names = match found {
            Ok((stat, _)) if !is_roots_alone(&stat) => {
                notes.add(format!(
                    "{HOOKS_DIRECTORY}: nothing of it was run: others than root may write there"
                ));
                return Self::default();
            }
            Ok((_, directory)) => directory.next_run(NAMES_BYTES_MAX),
            Err(error) => Err(error),
        };
        let names = names.unwrap_or_else(|error| {
            notes.add(failure::of(HOOKS_DIRECTORY, error).message);
            Vec::new()
        });
        let shown = names.iter().filter(|name| !name.name.to_bytes().starts_with(b"."));
        let paths =
            shown.map(|name| Path::new(HOOKS_DIRECTORY).join(OsStr::from_bytes(name.name.to_bytes())));
        Self(paths.filter(|path| is_to_be_run(root, path, notes)).collect()).cut(notes)
    }

    fn cut(mut self, notes: &mut Notes) -> Self {
        if self.0.len() > HOOKS_MAX {
            notes.add(format!("{HOOKS_DIRECTORY}: only {HOOKS_MAX} of {} were run", self.0.len()));
            self.0.truncate(HOOKS_MAX);
        }
        self
    }

    /// Runs them, one after the other, until their time together is up.
    pub async fn run_all(
        self,
        agent: &Agent,
        claimed: &Claimed,
        setting: &Setting,
        notes: &mut Notes,
    ) -> Vec<HookEnd> {
        let until = Instant::now() + Duration::from_secs(HOOKS_SECONDS_MAX);
        let mut ends = Vec::new();
        for path in self.0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let last = path.display();
                notes.add(format!("{last} and those after it were not run: {HOOKS_SECONDS_MAX} s were over"));
                break;
            }
            ends.push(
                run(agent, claimed, setting, &path, left.min(Duration::from_secs(HOOK_SECONDS_MAX))).await,
            );
        }
        ends
    }
}

/// Whether nobody but root, or whoever we run as where we are not root, may change it.
fn is_roots_alone(stat: &Stat) -> bool {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let is_groups = stat.st_mode & WRITE_GROUP != 0 && stat.st_gid != gid;
    stat.st_uid == uid && stat.st_mode & WRITE_ALL == 0 && !is_groups
}

/// Whether it is a program of root's. What is no program at all is not worth a note.
fn is_to_be_run(root: &Root, path: &Path, notes: &mut Notes) -> bool {
    let opened = root.open(path, OFlags::PATH);
    let stat = match opened.and_then(|fd| rustix::fs::fstat(&fd)) {
        Ok(stat) => stat,
        Err(error) => {
            notes.add(failure::of(path.display(), error).message);
            return false;
        }
    };
    if !FileType::from_raw_mode(stat.st_mode).is_file() || stat.st_mode & RUN == 0 {
        return false;
    }
    let is_roots = is_roots_alone(&stat);
    if !is_roots {
        notes.add(format!("{}: not run: others than root may write it", path.display()));
    }
    is_roots
}

async fn run(agent: &Agent, claimed: &Claimed, setting: &Setting, path: &Path, bound: Duration) -> HookEnd {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let exec = exec(&claimed.sandbox.root, setting, path, bound);
    let begun = begin(agent, claimed, exec, PROCESS_ID, tokio::time::sleep(bound)).await;
    let kept = match begun {
        Ok(kept) => kept,
        Err(error) => return HookEnd { name, exit_code: None, timed_out: false, said: error.message },
    };
    let end = tokio::time::timeout(bound + Duration::from_secs(KILL_SECONDS_MAX), kept.ended()).await.ok();
    let timed_out = end.as_ref().is_none_or(|end| end.cause == ExecCause::Timeout);
    let mut said = String::from_utf8_lossy(&kept.last_bytes(SAID_BYTES_MAX)).into_owned();
    // What was no text has become longer.
    said.drain(..said.ceil_char_boundary(said.len().saturating_sub(SAID_BYTES_MAX)));
    HookEnd { name, exit_code: end.and_then(|end| end.exit_code), timed_out, said }
}

fn exec(root: &Root, setting: &Setting, path: &Path, bound: Duration) -> Exec {
    let env = [
        ("ATOLL_RESTORE_KIND", setting.kind.as_str()),
        ("ATOLL_SANDBOX_ID", &setting.hostname),
        ("ATOLL_GENERATION", &setting.generation_id),
    ];
    Exec {
        cwd: Some("/".into()),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        user: users::may_switch().then(|| "0:0".to_owned()),
        timeout_ms: Some(bound.as_millis() as u64),
        ..Exec::of(Command::Argv(vec![root.outside(path).to_string_lossy().into_owned()]))
    }
}
