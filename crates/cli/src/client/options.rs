//! What every command that asks a server is told: where that is, who asks, and how the answer is shown.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use http::Uri;

use super::Client;
use crate::output::Output;

/// Where the server is, who we are, and who reads the answer.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct Options {
    /// The server's URL.
    #[arg(long, env = "ATOLL_URL", default_value = "http://127.0.0.1:7070", global = true)]
    url: String,
    /// An API key. Others on this machine can read a command line: rather set the variable, or use a file.
    #[arg(long, env = "ATOLL_API_KEY", hide_env_values = true, value_name = "KEY", global = true)]
    api_key: Option<String>,
    /// A file that holds an API key; used when no key is given.
    #[arg(
        long,
        env = "ATOLL_API_KEY_FILE",
        value_name = "FILE",
        default_value = "/var/lib/atoll/api-key",
        global = true
    )]
    api_key_file: PathBuf,
    /// Prints the API's own objects, for programs.
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
}

/// What a command works with.
pub struct Session {
    /// Asks the server.
    pub client: Client,
    /// Shows what it answers.
    pub output: Output,
}

impl Options {
    /// A session with the server they name.
    ///
    /// # Errors
    /// When the URL is not one, or no key can be found.
    pub fn session(&self) -> Result<Session> {
        let uri: Uri = self.url.parse().with_context(|| format!("`{}` is not a URL", self.url))?;
        if uri.scheme_str() != Some("http") {
            bail!("`{}` does not start with http://; this command speaks plain HTTP only", self.url);
        }
        let key = match self.api_key.as_deref().filter(|key| !key.trim().is_empty()) {
            Some(key) => key.to_owned(),
            None => read_key(&self.api_key_file)?,
        };
        Ok(Session { client: Client::new(&self.url, &key), output: Output::new(self.json) })
    }
}

fn read_key(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| {
        format!(
            "no API key: set ATOLL_API_KEY, or --api-key-file to a file that can be read ({})",
            path.display()
        )
    })
}

/// Something that can be asked of a server.
pub trait Ask {
    /// Asks it; the exit code says how that went.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses, or the answer cannot be shown.
    async fn ask(self, session: &Session) -> Result<ExitCode>;
}

/// A thing of the API, and what can be asked of it.
#[derive(Debug, Args)]
pub struct Noun<V: Subcommand> {
    #[command(subcommand)]
    verb: V,
    #[command(flatten)]
    options: Options,
}

impl<V: Subcommand + Ask> Noun<V> {
    /// Does what was asked.
    ///
    /// # Errors
    /// As [`Ask::ask`].
    pub async fn run(self) -> Result<ExitCode> {
        self.verb.ask(&self.options.session()?).await
    }
}
