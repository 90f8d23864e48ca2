//! What is to be run in the machine, and the disk that carries it there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::build::make_ext4;

/// Size of the job's disk, in MiB: its files, and its room to write. Sparse.
const JOB_DISK_MIB: u64 = 8 * 1024;
/// What we put on the disk ourselves.
const OWN_DIR: &str = ".machine";

/// A command, what it needs, and how long it may take.
#[derive(Debug, Clone)]
pub struct Job {
    /// Files and directories: the host's path, the path below `/job`, and the mode (a directory's files keep theirs).
    pub files: Vec<(PathBuf, PathBuf, u32)>,
    /// The program, by its path in the machine, and its arguments.
    pub command: Vec<String>,
    /// Environment variables, on top of `PATH`, `HOME` and `LANG`.
    pub env: Vec<(String, String)>,
    /// Memory of the machine, in MiB. `/run` and `/dev/shm` are in it; `/tmp` is on the disk.
    pub memory_mib: u32,
    /// Time for everything, retries included.
    pub bound: Duration,
    /// Time without output after which the machine is taken to hang and started afresh. Counts once the command runs.
    pub no_progress_bound: Duration,
    /// How often the machine is started, at most.
    pub attempts_max: usize,
}

impl Job {
    /// A job with generous bounds: 10 minutes, 90 seconds of silence, three attempts, 2 GiB.
    pub fn new(command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            files: Vec::new(),
            command: command.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            memory_mib: 2048,
            bound: Duration::from_secs(10 * 60),
            no_progress_bound: Duration::from_secs(90),
            attempts_max: 3,
        }
    }

    /// A job that runs a shell script.
    pub fn sh(script: &str) -> Self {
        Self::new(["/bin/sh", "-c", script])
    }

    /// Adds a file or directory of the host, to be found at this path below `/job`.
    #[must_use]
    pub fn file(mut self, host: impl Into<PathBuf>, below_job: impl Into<PathBuf>, mode: u32) -> Self {
        self.files.push((host.into(), below_job.into(), mode));
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes the job's disk in `dir`, which is on the same file system as the disk will be.
    pub(super) fn make_disk(&self, dir: &Path, disk: &Path) -> Result<()> {
        let stage = dir.join("stage");
        for (host, below_job, mode) in &self.files {
            let plain = below_job.components().all(|part| matches!(part, Component::Normal(_)));
            ensure!(
                plain && !below_job.starts_with(OWN_DIR),
                "{} is no path below /job",
                below_job.display()
            );
            let target = stage.join(below_job);
            copy(host, &target).with_context(|| format!("put {} on the job's disk", host.display()))?;
            fs::set_permissions(&target, fs::Permissions::from_mode(*mode))?;
        }
        let command = stage.join(OWN_DIR).join("command");
        fs::create_dir_all(stage.join(OWN_DIR))?;
        fs::write(&command, self.script()?)?;
        fs::set_permissions(&command, fs::Permissions::from_mode(0o755))?;
        make_ext4(&stage, disk, JOB_DISK_MIB)?;
        fs::remove_dir_all(&stage).context("remove the copies of the job's files")
    }

    /// A shell script that becomes the command.
    fn script(&self) -> Result<String> {
        ensure!(!self.command.is_empty(), "a job needs a command");
        let mut script = "#!/bin/sh\n".to_owned();
        for (name, value) in &self.env {
            let plain = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
            ensure!(plain && !name.is_empty(), "{name:?} is no name of an environment variable");
            script.push_str(&format!("export {name}={}\n", quoted(value)));
        }
        let words: Vec<_> = self.command.iter().map(|word| quoted(word)).collect();
        Ok(script + "exec " + &words.join(" ") + "\n")
    }
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Copies a file, or a directory with all that is in it. Links are followed: what they lead to is copied.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        return fs::copy(from, to).map(drop).with_context(|| format!("copy {}", from.display()));
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reaches_the_command_as_it_was() {
        let words = ["it's", "$HOME `id` \"x\"", "", "two\nlines", "\\"];
        let mut job = Job::new(["/usr/bin/printf", "%s|"]).env("VALUE", "a'b $c");
        job.command.extend(words.map(str::to_owned));
        job.command.push("end".into());
        let output = std::process::Command::new("sh").args(["-c", &job.script().unwrap()]).output().unwrap();
        let expected = words.join("|") + "|end|";
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);

        let job = Job { command: ["/usr/bin/printenv", "VALUE"].map(str::to_owned).into(), ..job };
        let output = std::process::Command::new("sh").args(["-c", &job.script().unwrap()]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a'b $c\n");
    }

    #[test]
    fn what_cannot_be_carried_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["../up", "/abs", ".machine/command"] {
            let job = Job::sh("true").file("/etc/hostname", path, 0o644);
            let error = job.make_disk(dir.path(), &dir.path().join("disk")).unwrap_err().to_string();
            assert!(error.contains(path), "{error}");
        }
        assert!(Job::sh("true").env("A B", "").script().unwrap_err().to_string().contains("A B"));
        let error = Job::new(Vec::<String>::new()).script().unwrap_err().to_string();
        assert!(error.contains("command"), "{error}");
    }
}
