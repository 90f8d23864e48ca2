//! The files of the tree: those git knows or would add.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Bytes in which a NUL marks a file as binary. Git looks at as many.
const BINARY_SAMPLE_BYTES: usize = 8000;

/// A file.
pub struct File {
    /// From the root of the tree, with `/`.
    pub path: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its text; none if it is binary.
    pub text: Option<String>,
}

impl File {
    /// A text file, for tests of checks.
    #[cfg(test)]
    pub fn text(path: &str, text: &str) -> Self {
        Self { path: path.into(), size_bytes: text.len() as u64, text: Some(text.into()) }
    }
}

/// Reads them all.
pub fn read(root: &Path) -> Result<Vec<File>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    let listed = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    let paths = listed.split_terminator('\0');
    // Links are not followed; what was deleted and not yet committed is no file.
    let present =
        paths.filter(|path| root.join(path).symlink_metadata().is_ok_and(|metadata| metadata.is_file()));
    present.map(|path| read_one(root, path)).collect()
}

fn read_one(root: &Path, path: &str) -> Result<File> {
    let bytes = fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
    let size_bytes = bytes.len() as u64;
    let sample = &bytes[..bytes.len().min(BINARY_SAMPLE_BYTES)];
    let text = if sample.contains(&0) { None } else { String::from_utf8(bytes).ok() };
    Ok(File { path: path.to_owned(), size_bytes, text })
}
