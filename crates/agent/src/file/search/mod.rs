//! Walks that look for something, and say what they find, a line each.

mod grep;

pub use grep::SAMPLE_BYTES;

use std::path::Path;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;
use wire::guest::file::{Node, Walk};
use wire::guest::{Done, Error, Outcome};

use super::Files;
use super::directory::Directory;
use super::entry::{Entry, shown};
use super::info::{Owners, describe};
use super::pattern::Pattern;
use super::telling::{Lines, telling};
use super::tree::{self, Rules, patterns};
use crate::connection::stream::Stream;
use crate::failure;
use crate::root::Root;
use crate::sandbox::Sandbox;

/// Looks for something, and sends what is found.
pub async fn walk(files: &Files, sandbox: &Arc<Sandbox>, stream: &Stream, walk: Walk) -> Outcome {
    let items = telling(files, sandbox, stream, move |sandbox, teller| {
        let mut lines = Lines::new(teller);
        run(sandbox, walk, &mut lines)?;
        lines.finish()
    });
    Ok(Done::Walked { items: items.await? })
}

fn run(sandbox: &Sandbox, walk: Walk, lines: &mut Lines) -> Result<(), Error> {
    let root = &sandbox.root;
    match walk {
        Walk::List { path, recursive, exclude } => {
            let depth_max = if recursive { None } else { Some(1) };
            let rules = Rules { exclude: patterns(&exclude)?, depth_max, ..Rules::default() };
            list(root, &sandbox.absolute(path), &rules, lines)
        }
        Walk::Glob { path, pattern, exclude } => {
            let rules = Rules { exclude: patterns(&exclude)?, ..Rules::default() };
            let pattern = Pattern::parse(&pattern).map_err(failure::invalid)?;
            glob(root, &sandbox.absolute(path), &pattern, &rules, lines)
        }
        Walk::Grep { path, pattern, include, exclude } => {
            let rules = Rules { exclude: patterns(&exclude)?, skip_kernel: true, ..Rules::default() };
            let include = include.map(|include| Pattern::parse(&include)).transpose();
            let include = include.map_err(failure::invalid)?;
            grep::grep(root, &sandbox.absolute(path), &pattern, include.as_ref(), &rules, lines)
        }
        Walk::Tree { path, max_depth, exclude } => {
            let rules = Rules { exclude: patterns(&exclude)?, depth_max: max_depth, ..Rules::default() };
            all(root, &sandbox.absolute(path), &rules, lines)
        }
    }
}

/// Opens the directory where a walk begins.
fn open(root: &Root, path: &Path) -> Result<Directory, Error> {
    Directory::open(root, path).map_err(|error| failure::of(path.display(), error))
}

/// What is in a directory; a file is listed as itself.
fn list(root: &Root, path: &Path, rules: &Rules, lines: &mut Lines) -> Result<(), Error> {
    let owners = Owners::read(root);
    let directory = match Directory::open(root, path) {
        Err(Errno::NOTDIR) => {
            let failed = |error| failure::of(path.display(), error);
            let entry = Entry::find(root, path).map_err(failed)?;
            let stat = entry.stat().map_err(failed)?;
            return lines.say(&describe(&entry.directory, &entry.name, &stat, &shown(root, path), &owners));
        }
        opened => opened.map_err(|error| failure::of(path.display(), error))?,
    };
    tree::walk(root, path, directory, rules, |found| {
        lines.breathe()?;
        match tree::stat(found) {
            Some(stat) => lines.say(&describe(found.directory, found.name, &stat, found.path, &owners)),
            None => Ok(()),
        }
    })
}

/// The paths that fit.
fn glob(root: &Root, path: &Path, pattern: &Pattern, rules: &Rules, lines: &mut Lines) -> Result<(), Error> {
    tree::walk(root, path, open(root, path)?, rules, |found| {
        lines.breathe()?;
        if pattern.fits(found.candidate) { lines.say(&found.candidate.path) } else { Ok(()) }
    })
}

/// Everything, as steps of a walk.
fn all(root: &Root, path: &Path, rules: &Rules, lines: &mut Lines) -> Result<(), Error> {
    let directory = open(root, path)?;
    if rules.depth_max == Some(0) {
        return Ok(());
    }
    tree::walk(root, path, directory, rules, |found| {
        lines.breathe()?;
        let is_dir = found.kind == FileType::Directory;
        lines.say(&Node { depth: found.depth, name: found.candidate.name.to_owned(), is_dir })
    })
}
