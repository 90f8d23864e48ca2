//! What every commit must keep true, and neither rustc nor clippy sees.

mod deny;
mod dependencies;
mod files;
mod graph;
mod licence;
mod map;
mod source;
mod text;

use std::fmt;
use std::path::Path;

use anyhow::Result;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// The file, from the root of the tree.
    path: String,
    /// The line, from 1; 0 for the file as a whole.
    line: usize,
    /// What is wrong.
    what: String,
    /// What to do about it.
    remedy: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what, remedy } = self;
        match line {
            0 => write!(f, "{path}: {what}: {remedy}"),
            line => write!(f, "{path}:{line}: {what}: {remedy}"),
        }
    }
}

/// Runs every check and prints what they find. Whether they found nothing.
pub fn run(root: &Path) -> Result<bool> {
    let files = files::read(root)?;
    let mut findings = text::check(&files, &text::places(root));
    findings.extend(source::check(&files));
    findings.extend(map::check(&files));
    findings.extend(dependencies::check(&graph::read(root)?, &deny::read(root)?));
    findings.sort();
    findings.iter().for_each(|finding| println!("{finding}"));
    println!("tidy: {} files, {} findings", files.len(), findings.len());
    Ok(findings.is_empty())
}
