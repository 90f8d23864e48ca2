//! What a registry wants to see, from files: a command line can be read by everybody on a machine.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

/// A secret in a file, in bytes, at most.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// What the image's registry wants to see.
#[derive(Debug, Args)]
#[command(next_help_heading = "Registry; secrets are read from files, and `-` is standard input")]
pub struct Credentials {
    /// The user's name in the registry.
    #[arg(long, value_name = "USER", requires = "password_file", conflicts_with = "credentials_file")]
    username: Option<String>,
    /// A file that holds the password, or a token in its place.
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
    /// A file that holds credentials as the API takes them, for registries of clouds: `{"type": "aws", …}`.
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
}

impl Credentials {
    /// As the API takes them, if any are given.
    ///
    /// # Errors
    /// When a file cannot be read, or holds something else.
    pub fn read(&self) -> Result<Option<Value>> {
        if let Some(path) = &self.credentials_file {
            // What is wrong with the text is not said: it would be shown.
            let value = serde_json::from_str(&read(path)?).ok().filter(Value::is_object);
            return value
                .map(Some)
                .with_context(|| format!("{} does not hold a JSON object", path.display()));
        }
        let (Some(username), Some(path)) = (&self.username, &self.password_file) else { return Ok(None) };
        let password = read(path)?;
        let password = password.trim_end_matches(['\r', '\n']);
        Ok(Some(json!({ "type": "basic", "username": username, "password": password })))
    }
}

fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(text)
}
