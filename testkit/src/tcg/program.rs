//! Programs of the host that the machine is made with: there or named, bounded, and dead when we are.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Lines of a failed program's output that its error repeats.
const LAST_WORDS_LINES: usize = 20;
/// Where programs are looked for: Debian's places, whatever the caller's `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command that runs `name` and dies with the thread that starts it.
///
/// # Errors
/// When the program is not installed, with the command that installs it.
pub(super) fn command(name: &str) -> Result<Command> {
    find(name)?;
    let mut command = Command::new("setpriv");
    command.env("PATH", PATH).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command.args(["--pdeathsig", "KILL", name]);
    Ok(command)
}

/// A command like [`command`]'s that is killed after `bound`.
pub(super) fn bounded(name: &str, bound: Duration) -> Result<Command> {
    find(name)?;
    let mut command = command("timeout")?;
    let seconds = bound.as_secs().to_string();
    command.args(["--signal=KILL", &seconds, "setpriv", "--pdeathsig", "KILL", name]);
    Ok(command)
}

/// Where a program is.
///
/// # Errors
/// When it is not installed, with the command that installs it.
pub(super) fn find(name: &str) -> Result<std::path::PathBuf> {
    let found = PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.exists());
    found.with_context(|| format!("{name} is not installed; run `scripts/install-packages test` as root"))
}

/// Runs a command to its end. What it prints on its standard output.
///
/// # Errors
/// When it fails, with the last lines it printed.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let (reader, writer) = std::io::pipe()?;
    let mut child =
        command.stdout(Stdio::piped()).stderr(writer).spawn().with_context(|| format!("start {shown}"))?;
    // The command holds the writing end of the pipe; the reader would wait for it for ever.
    command.stderr(Stdio::null());
    let complaints = std::thread::spawn(move || last_lines(reader));
    let mut output = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        std::io::Read::read_to_string(&mut stdout, &mut output).with_context(|| format!("read {shown}"))?;
    }
    let status = child.wait().with_context(|| format!("wait for {shown}"))?;
    let complaints = complaints.join().unwrap_or_default();
    ensure!(status.success(), "{shown} ended with {status}:\n{complaints}");
    Ok(output)
}

fn last_lines(reader: std::io::PipeReader) -> String {
    let mut last = VecDeque::new();
    for line in BufReader::new(reader).split(b'\n').map_while(std::io::Result::ok) {
        if last.len() == LAST_WORDS_LINES {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).into_owned());
    }
    Vec::from(last).join("\n")
}

/// The words of a command, for messages.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
