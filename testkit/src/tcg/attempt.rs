//! One start of the machine, watched until it ends or has to be ended.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::job::Job;
use super::lines::Lines;
use super::qemu::{COMPLAINTS_FILE, CONSOLE_FILE, Qemu, STATUS_FILE};
use super::report::Outcome;

/// Time until the command runs. Seconds, if the host is not busy.
const BOOT_BOUND: Duration = Duration::from_secs(120);
/// Bytes of output read at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks of output that wait for us, at most.
const CHUNKS_MAX: usize = 16;
/// Bytes of the console's end that are reported.
const CONSOLE_BYTES_MAX: usize = 16 * 1024;

/// How one start of the machine went.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) outcome: Outcome,
    pub(super) output: String,
    pub(super) boot: Option<Duration>,
    pub(super) console: String,
}

/// Starts the machine and stays with it until it is gone.
///
/// # Errors
/// When QEMU cannot be started, or its files cannot be read.
pub(super) fn attempt(
    machine: &Path,
    run: &Path,
    job: &Job,
    deadline: Instant,
    on_line: &mut dyn FnMut(&str),
) -> Result<Attempt> {
    let (qemu, output) = Qemu::start(machine, run, job.memory_mib)?;
    let chunks = chunks(output);
    let mut stream = Stream::default();
    let end = loop {
        let quiet = if stream.boot.is_some() { job.no_progress_bound } else { BOOT_BOUND };
        let left = deadline.saturating_duration_since(Instant::now());
        match chunks.recv_timeout(left.min(quiet)) {
            Ok(chunk) => stream.take(&chunk, on_line),
            Err(RecvTimeoutError::Disconnected) => break Outcome::Died,
            Err(RecvTimeoutError::Timeout) if left <= quiet => break Outcome::OutOfTime,
            Err(RecvTimeoutError::Timeout) => break Outcome::NoProgress,
        }
    };
    drop(qemu);
    chunks.iter().for_each(|chunk| stream.take(&chunk, on_line));
    // A machine that could not even turn itself off has still run the command.
    let outcome = exit_code(&read_lossy(&run.join(STATUS_FILE))).map_or(end, Outcome::Exited);
    let console = [CONSOLE_FILE, COMPLAINTS_FILE].map(|file| read_lossy(&run.join(file))).concat();
    Ok(Attempt { outcome, boot: stream.boot, output: stream.lines.finish(on_line), console: tail(&console) })
}

/// What comes out of the machine: first `init`'s word that the command starts, then the command's output.
#[derive(Debug, Default)]
struct Stream {
    boot: Option<Duration>,
    greeting: Vec<u8>,
    lines: Lines,
}

impl Stream {
    fn take(&mut self, chunk: &[u8], on_line: &mut dyn FnMut(&str)) {
        let mut rest = chunk;
        while self.boot.is_none()
            && let Some((&byte, after)) = rest.split_first()
        {
            rest = after;
            if byte == b'\n' {
                self.boot = uptime(&self.greeting);
                self.greeting.clear();
            } else {
                self.greeting.push(byte);
            }
        }
        self.lines.take(rest, on_line);
    }
}

/// The time in `started <seconds>`.
fn uptime(greeting: &[u8]) -> Option<Duration> {
    let seconds = std::str::from_utf8(greeting).ok()?.strip_prefix("started ")?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The output as it comes. Ends when QEMU does.
fn chunks(mut output: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(CHUNKS_MAX);
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The code in `exit <code>`, if the line is whole.
fn exit_code(status: &str) -> Option<i32> {
    status.strip_prefix("exit ")?.strip_suffix('\n')?.parse().ok()
}

fn read_lossy(file: &Path) -> String {
    fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn tail(text: &str) -> String {
    let start = text.ceil_char_boundary(text.len().saturating_sub(CONSOLE_BYTES_MAX));
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_never_made_up() {
        assert_eq!(exit_code("exit 7\n"), Some(7));
        for text in ["", "exit 1", "exit \n", "exit x\n", "exit 1\nexit 0\n", "7\n"] {
            assert_eq!(exit_code(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_commands_output_begins_after_the_greeting() {
        let check = |chunks: &[&str], boot: Option<f64>, expected: &[&str]| {
            let (mut stream, mut told) = (Stream::default(), Vec::new());
            chunks
                .iter()
                .for_each(|chunk| stream.take(chunk.as_bytes(), &mut |line| told.push(line.to_owned())));
            assert_eq!(
                (stream.boot, told),
                (boot.map(Duration::from_secs_f64), expected.iter().map(|line| line.to_string()).collect())
            );
        };
        check(&["started 2.50\none\n", "two\n"], Some(2.5), &["one", "two"]);
        check(&["star", "ted 2.5", "0\n", "started 3\n"], Some(2.5), &["started 3"]);
        check(&["started 2.50"], None, &[]);
        check(&["started -1\n", "x\n"], None, &[]);
    }
}
