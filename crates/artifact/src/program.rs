//! Programs we run: their output line by line, their end within a bound.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;

use crate::{Error, Result};

/// Lines of output that an error repeats.
const LAST_WORDS_LINES: usize = 20;
/// Bytes of a line; what is over counts as the next line.
const LINE_BYTES_MAX: u64 = 4096;
/// Where programs are looked for. Not the caller's `PATH`: a build does not depend on who starts it.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is passed on of our own environment: the way to the network.
const ENV_PASSED_ON: [&str; 3] = ["http_proxy", "https_proxy", "no_proxy"];

/// A program to run, in an environment of its own, with `/` as its directory and no input.
pub(crate) struct Program {
    name: &'static str,
    bound: Duration,
    command: Command,
}

impl Program {
    /// This program of this Debian package, which has so much time to end.
    ///
    /// It dies with the thread that runs it, so that a killed server leaves none behind.
    ///
    /// # Errors
    /// [`Error::ProgramMissing`].
    pub(crate) fn new(name: &'static str, package: &'static str, bound: Duration) -> Result<Self> {
        if !PATH.split(':').any(|dir| Path::new(dir).join(name).exists()) {
            return Err(Error::ProgramMissing { program: name.into(), package: package.into() });
        }
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8");
        let passed_on = ENV_PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.envs(passed_on).current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
        Ok(Self { name, bound, command })
    }

    /// Adds arguments. The first ones are options of `setpriv`, which ends in becoming the program.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end, and passes on each line it says, to whichever stream.
    ///
    /// # Errors
    /// When it fails or is not done in time, with its last words.
    pub(crate) async fn run(self, mut line: impl FnMut(&str)) -> Result<()> {
        let Self { name, bound, command } = self;
        let mut last_words = VecDeque::new();
        let hear = |said: &str| {
            last_words.push_back(said.to_owned());
            if last_words.len() > LAST_WORDS_LINES {
                last_words.pop_front();
            }
            line(said);
        };
        // A bound that strikes drops the child, which kills it.
        let ended = tokio::time::timeout(bound, run_to_end(command, hear)).await;
        let last_words = Vec::from(last_words).join("\n");
        match ended {
            Err(_) => Err(Error::ProgramTimeout { program: name.into(), bound, last_words }),
            Ok(Err(source)) => Err(Error::Io { what: format!("run {name}"), source }),
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => {
                Err(Error::ProgramFailed { program: name.into(), status: status.to_string(), last_words })
            }
        }
    }
}

/// Both streams are one pipe, so that lines come in the order they were said.
async fn run_to_end(mut command: Command, mut hear: impl FnMut(&str)) -> io::Result<ExitStatus> {
    let (reader, writer): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // Its copies of the writing end would keep the output from ever ending.
    drop(command);
    let mut output = BufReader::new(Receiver::from_owned_fd(reader)?);
    let mut line = Vec::new();
    while (&mut output).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await? > 0 {
        hear(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    child.wait().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, bound: Duration) -> Program {
        Program::new("sh", "dash", bound).unwrap().args(["sh", "-c", script])
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn lines_of_both_streams_come_in_order() {
        let mut lines = Vec::new();
        sh("echo one; echo two >&2; printf three", LONG)
            .run(|line| lines.push(line.to_owned()))
            .await
            .unwrap();
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn a_failure_has_its_status_and_the_last_words_only() {
        let error = sh("seq 1 1000; exit 7", LONG).run(|_| {}).await.unwrap_err();
        let Error::ProgramFailed { status, last_words, .. } = error else { panic!("{error}") };
        assert!(status.contains('7'), "{status}");
        assert!(last_words.starts_with("981\n") && last_words.ends_with("\n1000"), "{last_words}");
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_killed() {
        let mut pid = String::new();
        let bound = Duration::from_millis(500);
        let error = sh("echo $$; exec sleep 600", bound).run(|line| pid = line.to_owned()).await.unwrap_err();
        assert!(matches!(error, Error::ProgramTimeout { .. }), "{error}");
        let gone = async {
            // Killed at once, reaped by the runtime when it gets to it.
            while Path::new("/proc").join(&pid).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, gone).await.expect("the program went on");
    }

    #[test]
    fn a_missing_program_names_the_package_to_install() {
        let error = Program::new("no-such-program", "its-package", LONG).err().unwrap().to_string();
        assert!(error.contains("no-such-program") && error.contains("its-package"), "{error}");
    }
}
