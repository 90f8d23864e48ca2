//! The command line, as people and scripts use it.

mod desk;
mod liar;

use std::io::Write;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::server::{Server, Site};

pub use desk::Desk;
pub use liar::Liar;

/// What a story waits for has so long to come.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// A server on the fake engine, that knows the template.
pub struct Office {
    /// The server.
    pub server: Server,
    _site: Site,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its output.
    pub out: String,
    /// Its notes and complaints.
    pub err: String,
}

impl Office {
    /// Opens it.
    ///
    /// # Panics
    /// When the server does not start.
    pub fn open() -> Self {
        let site = Site::new();
        let office = Self { server: site.serve(&[]), _site: site };
        office.done(&["template", "build", "system/debian:bookworm"]);
        office
    }

    /// Runs `atoll` with these arguments.
    pub fn atoll(&self, arguments: &[&str]) -> Said {
        said(self.server.atoll(arguments))
    }

    /// The output of `atoll` with these arguments, which succeed.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> String {
        let said = self.atoll(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        said.out.trim_end().to_owned()
    }

    /// The object that `atoll --json` with these arguments prints.
    ///
    /// # Panics
    /// When it does not succeed, or prints something else.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let out = self.done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// Runs `atoll` with these arguments and this on its standard input.
    pub fn fed(&self, arguments: &[&str], input: &[u8]) -> Said {
        fed(self.server.command(arguments), input)
    }

    /// Starts `atoll` with these arguments and pipes at all of its ends.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn piped(&self, arguments: &[&str]) -> Child {
        let mut command = self.server.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("atoll is started")
    }

    /// A new sandbox's id.
    pub fn sandbox(&self) -> String {
        self.done(&["sandbox", "create"])
    }
}

/// Runs a command with this on its standard input.
///
/// # Panics
/// When it cannot be started.
pub fn fed(mut command: Command, input: &[u8]) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it is started");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    // One that reads no more is no failure here.
    std::thread::spawn(move || stdin.write_all(&input));
    said(child.wait_with_output().expect("it is ours"))
}

/// How it ended, and what it said.
pub fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Waits until a child has ended.
///
/// # Panics
/// When it does not.
pub fn ended(child: &mut Child) -> ExitStatus {
    let mut status = None;
    until("it ends", || {
        status = child.try_wait().expect("it is ours");
        status.is_some()
    });
    status.expect("it has ended")
}

/// Waits until something holds.
///
/// # Panics
/// When it never does.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "this never happened: {what}");
        std::thread::sleep(LOOK);
    }
}
