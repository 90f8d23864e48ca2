//! What is shown of a process that has an id.

use std::time::{SystemTime, UNIX_EPOCH};

use wire::guest::{Command, Exec};

use crate::sandbox::Sandbox;

/// Of a command line, in bytes, so much is shown.
const COMMAND_BYTES_MAX: usize = 1024;

/// See the module.
pub struct Card {
    /// Its id.
    pub id: String,
    /// Its number; also of its group and session.
    pub pid: i32,
    /// What runs.
    pub command: String,
    /// Where it started.
    pub cwd: String,
    /// When, in wall-clock milliseconds.
    pub started_at_ms: u64,
}

impl Card {
    /// Of what is about to be started. It has no number yet.
    pub fn new(id: &str, sandbox: &Sandbox, exec: &Exec) -> Self {
        Self {
            id: id.to_owned(),
            pid: 0,
            command: command(&exec.command),
            cwd: sandbox.absolute(exec.cwd.as_deref().unwrap_or("")).to_string_lossy().into_owned(),
            started_at_ms: 0,
        }
    }

    /// It has been started, just now.
    pub fn started(self, pid: i32) -> Self {
        Self { pid, started_at_ms: wall_ms(), ..self }
    }

    /// Of one that nobody is shown.
    pub fn unseen(pid: i32) -> Self {
        Self { id: String::new(), pid, command: String::new(), cwd: String::new(), started_at_ms: 0 }
    }

    #[cfg(test)]
    pub fn for_tests(id: &str) -> Self {
        Self { id: id.into(), pid: 7, command: "x".into(), cwd: "/".into(), started_at_ms: 1 }
    }
}

fn command(command: &Command) -> String {
    let whole = match command {
        Command::Shell(script) => cut(script, COMMAND_BYTES_MAX).to_owned(),
        // Only as many words as can be shown: there may be a million.
        Command::Argv(argv) => argv
            .iter()
            .take(COMMAND_BYTES_MAX)
            .map(|word| cut(word, COMMAND_BYTES_MAX))
            .collect::<Vec<_>>()
            .join(" "),
    };
    cut(&whole, COMMAND_BYTES_MAX).to_owned()
}

/// So many bytes of a text, or a little less: characters stay whole.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Wall-clock milliseconds; 0 before 1970.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_cut_between_characters() {
        let shown = command(&Command::Shell("é".repeat(COMMAND_BYTES_MAX)));
        assert_eq!(shown, "é".repeat(COMMAND_BYTES_MAX / 2));
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(command(&Command::Argv(vec!["a b".into(), "c".into()])), "a b c");
        assert!(command(&Command::Argv(vec!["xyz".into(); 100_000])).len() <= COMMAND_BYTES_MAX);
    }
}
