//! A zone of `knotd`, which takes updates that are signed with one key, and no others.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::{Program, await_listener, free_port};

/// The zone's name.
const NAME: &str = "example.test";
/// The key's name.
const KEY_NAME: &str = "acme";

/// A server of one zone.
pub struct Zone {
    dir: TempDir,
    port: u16,
    address: String,
    program: Option<Program>,
}

impl Zone {
    /// One whose key this is made of.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(key: &str) -> Self {
        let port = free_port();
        let dir = tempfile::tempdir().expect("a directory");
        let mut zone = Self { dir, port, address: format!("127.0.0.1:{port}"), program: None };
        let records = format!(
            "$ORIGIN {NAME}.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
        );
        fs::write(zone.path("zone"), records).expect("a file");
        zone.run(key);
        zone
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&mut self, key: &str) {
        let dir = self.dir.path().display();
        let config = format!(
            "server:\n  rundir: {dir}\n  listen: 127.0.0.1@{port}\n\
             database:\n  storage: {dir}\n\
             log:\n  - target: stderr\n    any: info\n\
             key:\n  - id: {KEY_NAME}\n    algorithm: hmac-sha256\n    secret: {secret}\n\
             acl:\n  - id: updates\n    key: {KEY_NAME}\n    action: update\n\
             zone:\n  - domain: {NAME}\n    storage: {dir}\n    file: zone\n    acl: updates\n",
            port = self.port,
            secret = Self::encoded(key),
        );
        fs::write(self.path("knot.conf"), config).expect("a file");
        let log = File::options().create(true).append(true).open(self.path("log")).expect("a log");
        let mut command = Command::new("knotd");
        command.arg("-c").arg(self.path("knot.conf")).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        self.program = Some(Program(command.spawn().expect("knot is installed")));
        await_listener(self.port, "knotd", || self.log());
    }

    /// Gives it another key.
    ///
    /// # Panics
    /// As [`Zone::start`].
    pub fn change_key(&mut self, key: &str) {
        self.program = None;
        self.run(key);
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.program = None;
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A key, as it is written down.
    pub fn encoded(key: &str) -> String {
        STANDARD.encode(key)
    }

    /// The texts that are there, of this name in the zone.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let (port, name) = (self.port.to_string(), format!("{name}.{NAME}"));
        let output =
            Command::new("kdig").args(["@127.0.0.1", "-p", &port, "+tcp", "+short", "TXT", &name]).output();
        let output = output.expect("kdig is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| line.trim_matches('"').to_owned())
            .collect()
    }

    /// A program in the shell's language that does what hooks do, with `knsupdate`.
    pub fn hook(&self, key: &str) -> String {
        format!(
            "case $1 in present) verb=add ;; *) verb=del ;; esac\n\
             printf 'server 127.0.0.1 {port}\\nzone {NAME}.\\nupdate %s %s. 60 TXT \"%s\"\\nsend\\n' \"$verb\" \"$2\" \"$3\" |\n\
             knsupdate -v -y hmac-sha256:{KEY_NAME}:{secret}\n",
            port = self.port,
            secret = Self::encoded(key),
        )
    }
}
