//! A program of the operator's that changes the DNS.

use std::io::pipe;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use crate::trouble::Trouble;

/// A call has so long.
const CALL_BOUND: Duration = Duration::from_secs(120);
/// How much of the last words of a call is told, in bytes.
const WORDS_MAX: usize = 1000;

/// The program.
pub(crate) struct Hook {
    program: PathBuf,
}

impl Hook {
    pub(crate) fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// Calls it, and waits until it has done what it was asked.
    pub(crate) async fn call(&self, verb: &str, name: &str, value: &str) -> Result<(), Trouble> {
        self.call_within(CALL_BOUND, verb, name, value).await
    }

    async fn call_within(&self, bound: Duration, verb: &str, name: &str, value: &str) -> Result<(), Trouble> {
        let doing = format!("calling {} {verb} {name}", self.program.display());
        let mut running = self.start(verb, name, value).map_err(|error| Trouble::new(&doing, error))?;
        let Ok(ended) = tokio::time::timeout(bound, running.end()).await else {
            let words = running.words();
            return Err(Trouble::new(doing, format!("it did not end within {} s{words}", bound.as_secs())));
        };
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Trouble::new(doing, format!("{status}{}", running.words()))),
            Err(error) => Err(Trouble::new(doing, error)),
        }
    }

    fn start(&self, verb: &str, name: &str, value: &str) -> std::io::Result<Running> {
        let (output, input) = pipe()?;
        let mut command = Command::new(&self.program);
        command.args([verb, name, value]).stdin(Stdio::null()).process_group(0);
        let child = command.stdout(input.try_clone()?).stderr(input).spawn()?;
        Ok(Running { child, output: Receiver::from_owned_fd(OwnedFd::from(output))?, said: Vec::new() })
    }
}

/// A call under way. Ends when dropped, with whatever it has started.
struct Running {
    child: Child,
    output: Receiver,
    said: Vec<u8>,
}

impl Running {
    /// Its end. What it has left running may hold its output, and is not waited for.
    async fn end(&mut self) -> std::io::Result<ExitStatus> {
        let mut piece = [0; WORDS_MAX];
        loop {
            tokio::select! {
                biased;
                read = self.output.read(&mut piece) => match read {
                    Ok(length @ 1..) => self.hear(&piece[..length]),
                    Ok(0) | Err(_) => return self.child.wait().await,
                },
                status = self.child.wait() => {
                    while let Ok(length @ 1..) = self.output.try_read(&mut piece) {
                        self.hear(&piece[..length]);
                    }
                    return status;
                }
            }
        }
    }

    fn hear(&mut self, piece: &[u8]) {
        self.said.extend_from_slice(piece);
        let surplus = self.said.len().saturating_sub(WORDS_MAX);
        self.said.drain(..surplus);
    }

    /// Its last words, on one line.
    fn words(&self) -> String {
        let words = String::from_utf8_lossy(&self.said);
        let words: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if words.is_empty() { String::new() } else { format!("; it said: {}", words.join(" / ")) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has a number as long as it was not waited for.
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id as i32)) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn hook(dir: &tempfile::TempDir, script: &str) -> Hook {
        let program = dir.path().join("hook");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Hook::new(program)
    }

    #[tokio::test]
    async fn it_is_told_what_to_do_and_its_code_counts() {
        let dir = tempfile::tempdir().unwrap();
        let said = dir.path().join("said");
        let good = hook(&dir, &format!("echo \"$@\" >>{}", said.display()));
        good.call("present", "_acme-challenge.a.test", "-x").await.unwrap();
        good.call("cleanup", "_acme-challenge.a.test", "-x").await.unwrap();
        let expected = "present _acme-challenge.a.test -x\ncleanup _acme-challenge.a.test -x\n";
        assert_eq!(fs::read_to_string(said).unwrap(), expected);
        let bad = hook(&dir, "seq 5000; echo no token >&2; exit 3");
        let error = bad.call("present", "a", "b").await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("4999 / 5000 / no token"), "{error}");
        assert!(error.len() < 2 * WORDS_MAX, "{error}");
        let none = Hook::new(dir.path().join("none"));
        assert!(none.call("present", "a", "b").await.is_err());
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_ended_and_one_that_leaves_something_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let endless = hook(&dir, "echo waiting; exec sleep 1000");
        let error = endless.call_within(Duration::from_millis(500), "present", "a", "b").await.unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
        let pid = dir.path().join("pid");
        let leaves = hook(&dir, &format!("sleep 1000 & echo $! >{}", pid.display()));
        tokio::time::timeout(CALL_BOUND / 2, leaves.call("present", "a", "b")).await.unwrap().unwrap();
        let left: i32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
    }
}
