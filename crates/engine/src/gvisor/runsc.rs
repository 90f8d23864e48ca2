//! The `runsc` program: which one it is, what it needs, how it is called.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wire::guest::Shims;
use wire::id::SandboxId;

use crate::launcher::{DISK_PLACEHOLDER, Settings};
use crate::{Error, net};

/// Flags without which there is no disk limit, or no snapshot.
const FLAGS_NEEDED: [&str; 3] = ["overlay2", "net-disconnect-ok", "platform"];

/// Flags and values for every command; one that this runsc does not know is left out.
///
/// No host file system calls from the sandbox's kernel (`directfs`), no sockets or pipes of the host inside, and a
/// checkpoint does not fail because somebody is connected.
const FLAGS: [&str; 7] = [
    "platform=systrap",
    "network=sandbox",
    "net-disconnect-ok=true",
    "directfs=false",
    "host-uds=none",
    "host-fifo=none",
    "cpu-num-from-quota=true",
];

/// The first release that does not ask the path `/proc/sys/net/core/rmem_default` whether it is on the host's network.
const KNOWS_ITS_NETWORK_SINCE: Release = Release(20_240_805);
/// The first release whose `close_range` takes every number of descriptors.
const CLOSE_RANGE_SINCE: Release = Release(20_250_201);
/// The first release that does not call `membarrier` at every start.
const QUICK_START_SINCE: Release = Release(20_260_801);

/// The day of a release, as the number `yyyymmdd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Release(u32);

impl Release {
    /// From what `runsc --version` says: `runsc version release-20240729.0`, `runsc version 0.0~20240729.0`.
    /// One that cannot be read counts as the oldest: repairs that are not needed do no harm.
    fn parse(version: &str) -> Self {
        let digits = version.split(|c: char| !c.is_ascii_digit()).find(|part| part.len() == 8);
        Self(digits.and_then(|digits| digits.parse().ok()).unwrap_or(0))
    }
}

/// A runsc that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Runsc {
    pub program: PathBuf,
    /// What it says its version is.
    pub version: String,
    release: Release,
    flags: BTreeSet<String>,
}

impl Runsc {
    /// Asks a runsc who it is.
    ///
    /// # Errors
    /// [`Error::Unfit`] when it is missing or lacks something we cannot do without.
    pub(crate) fn probe(program: &Path) -> Result<Self, Error> {
        let said = output(program, "--version")?;
        let version =
            said.lines().next().unwrap_or_default().trim_start_matches("runsc version").trim().to_owned();
        let flags = parse_flags(&output(program, "flags")?);
        let lacking: Vec<_> = FLAGS_NEEDED.into_iter().filter(|flag| !flags.contains(*flag)).collect();
        if !lacking.is_empty() {
            return Err(Error::Unfit {
                what: format!("{} (version {version}) lacks --{}", program.display(), lacking.join(", --")),
                remedy: REMEDY.into(),
            });
        }
        Ok(Self { program: program.to_owned(), release: Release::parse(&version), version, flags })
    }

    /// What the agent has to paper over.
    pub(crate) fn shims(&self) -> Shims {
        Shims { mask_close_range: self.release < CLOSE_RANGE_SINCE, uncover_tmp: true }
    }

    /// The surroundings it needs on this kernel.
    pub(crate) fn surroundings(&self, run_dir: &Path) -> Result<Settings, Error> {
        let shown =
            net::namespaces_show_rmem_default().map_err(Error::io("looking into a new network namespace"))?;
        Ok(Settings {
            run_dir: run_dir.to_owned(),
            mask_membarrier: self.release < QUICK_START_SINCE,
            cover_proc_sys_net: shown && self.release < KNOWS_ITS_NETWORK_SINCE,
        })
    }

    /// The arguments that run a sandbox from its bundle, and return when it runs.
    pub(crate) fn run_args(&self, state: &Path, bundle: &Path, id: &SandboxId) -> Vec<String> {
        let mut args = self.flags_of_new(state, bundle);
        args.extend(["run".into(), "--detach".into()]);
        args.extend(new_args(bundle, id));
        args
    }

    /// The arguments that start a sandbox's kernel, in which nothing runs yet.
    pub(crate) fn create_args(&self, state: &Path, bundle: &Path, id: &SandboxId) -> Vec<String> {
        let mut args = self.flags_of_new(state, bundle);
        args.push("create".into());
        args.extend(new_args(bundle, id));
        args
    }

    /// The arguments that have such a kernel go on from a checkpoint, and return when it does.
    pub(crate) fn restore_args(
        &self,
        state: &Path,
        bundle: &Path,
        from: &Path,
        id: &SandboxId,
    ) -> Vec<String> {
        let mut args = self.flags(state, bundle);
        args.extend(["restore".into(), "--detach".into(), format!("--image-path={}", from.display())]);
        args.extend([format!("--bundle={}", bundle.display()), id.to_string()]);
        args
    }

    /// The arguments that stop everything in a sandbox.
    pub(crate) fn pause_args(&self, state: &Path, id: &SandboxId) -> Vec<String> {
        vec![format!("--root={}", state.display()), "pause".into(), id.to_string()]
    }

    /// The arguments that let it go on.
    pub(crate) fn resume_args(&self, state: &Path, id: &SandboxId) -> Vec<String> {
        vec![format!("--root={}", state.display()), "resume".into(), id.to_string()]
    }

    /// The arguments that write down what a sandbox is, which is then as before. What compresses and shares is the
    /// store's to do.
    pub(crate) fn checkpoint_args(&self, state: &Path, into: &Path, id: &SandboxId) -> Vec<String> {
        let mut args = vec![format!("--root={}", state.display()), "checkpoint".into()];
        args.push(format!("--image-path={}", into.display()));
        args.extend(["--compression=none", "--exclude-committed-zero-pages"].map(str::to_owned));
        args.extend(["--leave-running".into(), id.to_string()]);
        args
    }

    /// The flags of every sandbox.
    pub(crate) fn flags_of_all(&self) -> impl Iterator<Item = &'static str> {
        let known = |flag: &&str| flag.split_once('=').is_some_and(|(name, _)| self.flags.contains(name));
        FLAGS.into_iter().filter(known)
    }

    /// The flags of one that gets its disk with this command: nobody gives it another later.
    fn flags_of_new(&self, state: &Path, bundle: &Path) -> Vec<String> {
        let mut args = self.flags(state, bundle);
        args.push(format!("--overlay2=root:dir={DISK_PLACEHOLDER}"));
        args
    }

    /// The same whether it is new or goes on: runsc does not look whether they are.
    fn flags(&self, state: &Path, bundle: &Path) -> Vec<String> {
        let mut args = vec![format!("--root={}", state.display())];
        args.extend(self.flags_of_all().map(|flag| format!("--{flag}")));
        if self.flags.contains("panic-log") {
            args.push(format!("--panic-log={}", bundle.join("panic.log").display()));
        }
        args
    }
}

fn new_args(bundle: &Path, id: &SandboxId) -> [String; 3] {
    [
        format!("--bundle={}", bundle.display()),
        format!("--pid-file={}", bundle.join("pid").display()),
        id.to_string(),
    ]
}

/// What to do about a missing or unfit runsc.
pub(crate) const REMEDY: &str = "install runsc (Debian: apt-get install -t bookworm-backports runsc; or see https://gvisor.dev/docs/user_guide/install)";

fn output(program: &Path, argument: &str) -> Result<String, Error> {
    let ran = Command::new(program).arg(argument).stdin(Stdio::null()).output();
    let ran = ran.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            Error::Unfit { what: format!("{} is not installed", program.display()), remedy: REMEDY.into() }
        }
        _ => Error::io(format!("starting {}", program.display()))(source),
    })?;
    // Its lists go to stderr.
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).trim_end().to_owned();
    if ran.status.success() {
        return Ok(said);
    }
    Err(Error::Program { program: format!("runsc {argument}"), detail: format!("{}: {said}", ran.status) })
}

/// The names in the listing of `runsc flags`: lines of two spaces, a dash and the name.
fn parse_flags(listing: &str) -> BTreeSet<String> {
    let names = listing.lines().filter_map(|line| line.strip_prefix("  -")?.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_from_every_form_of_version() {
        let check = |version, day| assert_eq!(Release::parse(version), Release(day), "{version}");
        check("release-20240729.0", 20_240_729);
        check("0.0~20240729.0", 20_240_729);
        check("release-20261102.0-3-gabcdef123456", 20_261_102);
        check("VERSION_MISSING", 0);
    }

    #[test]
    fn flags_are_read_from_their_listing() {
        let listing = "  -TESTONLY-x\n    \ttext\n  -overlay2 value\n    \twrap mounts (default root:self)\n  -directfs\n";
        let flags = parse_flags(listing);
        assert_eq!(
            flags.iter().map(String::as_str).collect::<Vec<_>>(),
            ["TESTONLY-x", "directfs", "overlay2"]
        );
    }

    #[test]
    fn an_unknown_flag_is_left_out() {
        let flags = ["overlay2", "platform"].map(str::to_owned).into();
        let runsc = Runsc { program: "runsc".into(), version: String::new(), release: Release(0), flags };
        let id = SandboxId::from_entropy([3; wire::id::ENTROPY_BYTES]);
        let args = runsc.run_args(Path::new("/s"), Path::new("/b"), &id);
        assert!(args.contains(&"--platform=systrap".to_owned()));
        assert!(!args.iter().any(|arg| arg.starts_with("--directfs") || arg.starts_with("--panic-log")));
        assert_eq!(args.last().map(String::as_str), Some(id.as_str()));
    }
}
