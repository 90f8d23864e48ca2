//! `pebble`, the authority that the people of Let's Encrypt test clients with. It forgets everything when it ends.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use super::{Program, Zone, await_listener, free_port};
use crate::registry::Authority;

/// How long what it issues lasts, in seconds, unless a story wants it shorter.
const VALIDITY_SECONDS: u64 = 90 * 24 * 60 * 60;

/// An authority.
pub struct Pebble {
    dir: TempDir,
    /// Who signs the certificate of its own directory.
    directory_signer: Authority,
    port: u16,
    management_port: u16,
    dns: String,
    validity_seconds: u64,
    program: Option<Program>,
}

impl Pebble {
    /// One that asks this server for records.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(zone: &Zone) -> Self {
        Self::issuing_for(zone, VALIDITY_SECONDS)
    }

    /// One whose certificates last so long.
    ///
    /// # Panics
    /// As [`Pebble::start`].
    pub fn issuing_for(zone: &Zone, validity_seconds: u64) -> Self {
        let mut pebble = Self {
            dir: tempfile::tempdir().expect("a directory"),
            directory_signer: Authority::new(),
            port: free_port(),
            management_port: free_port(),
            dns: zone.address().to_owned(),
            validity_seconds,
            program: None,
        };
        pebble.run();
        pebble
    }

    fn run(&mut self) {
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{}", self.management_port),
            "certificate": self.directory_signer.server_certificate(),
            "privateKey": self.directory_signer.server_key(),
            "httpPort": 5002,
            "tlsPort": 5001,
            "certificateValidityPeriod": self.validity_seconds,
        } });
        let config_file = self.dir.path().join("pebble.json");
        fs::write(&config_file, config.to_string()).expect("a file");
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log");
        let mut command = Command::new("pebble");
        command.arg("-config").arg(config_file).args(["-strict", "-dnsserver", &self.dns]);
        // Otherwise it waits for some seconds before it looks.
        command.env("PEBBLE_VA_NOSLEEP", "1").stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        self.program = Some(Program(command.spawn().expect("pebble is installed")));
        await_listener(self.port, "pebble", || self.log());
        await_listener(self.management_port, "pebble", || self.log());
    }

    /// Ends it, and with it all it knew.
    pub fn stop(&mut self) {
        self.program = None;
    }

    /// Starts it again where it was: it knows nobody, and signs with other keys.
    ///
    /// # Panics
    /// As [`Pebble::start`].
    pub fn start_again(&mut self) {
        self.stop();
        self.run();
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Its directory.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// Whom its clients are to believe, in PEM.
    pub fn directory_signer(&self) -> PathBuf {
        self.directory_signer.certificate()
    }

    /// Who signs what it issues, in PEM.
    ///
    /// # Panics
    /// When it does not say.
    pub fn root(&self) -> String {
        let url = format!("https://127.0.0.1:{}/roots/0", self.management_port);
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail", "--max-time", "30", "--cacert"]).arg(self.directory_signer());
        let output = curl.arg(url).output().expect("curl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("PEM is text")
    }
}
