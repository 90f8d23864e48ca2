//! Another process that holds the database, as a backup that hangs would.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Takes the lock of those who write, and keeps it.
const SCRIPT: &str = "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None); \
                      c.execute('BEGIN IMMEDIATE'); print('held', flush=True); time.sleep(600)";

/// Holds a database until it is dropped.
pub struct Holder(Child);

/// Has another process hold this database.
///
/// # Panics
/// When there is no Python, or the database cannot be held.
pub fn held(database: &Path) -> Holder {
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(database).stdout(Stdio::piped());
    let mut child = command.spawn().expect("there is a Python");
    let mut line = String::new();
    let output = child.stdout.take().expect("its output is piped");
    let holder = Holder(child);
    BufReader::new(output).read_line(&mut line).expect("in UTF-8");
    assert_eq!(line, "held\n");
    holder
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
