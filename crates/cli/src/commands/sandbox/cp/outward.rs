//! From a sandbox to here. What a sandbox says of its files is believed of nothing but the sandbox.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::vec;

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures_util::{StreamExt, stream};
use wire::public::file::FileInfo;

use super::end::{below, name};
use super::remote::{Kind, Remote};
use super::target::Directory;
use super::{AT_ONCE, MODE_BITS, Progress, Tally};
use crate::client::piece;
use crate::commands::files::Place;
use crate::output::pass_on;

/// Directories in each other, at most; each is held open.
const DEPTH_MAX: usize = 200;

/// Copies a file or directory.
///
/// # Errors
/// When it is not there, the target cannot be written at all, or the server cannot be reached.
pub async fn path(remote: &Remote<'_>, place: &Place, target: &Path, progress: &Progress) -> Result<Tally> {
    // Says that it is missing, if it is.
    let info = remote.stat(&place.path).await?;
    let mut tally = Tally::default();
    if remote.kind(&place.path).await? == Kind::Directory {
        tree(remote, place, &info, target, progress, &mut tally).await?;
        return Ok(tally);
    }
    let target = match name(&place.path) {
        Some(name) if target.is_dir() => target.join(name),
        _ => target.to_owned(),
    };
    one_file(remote, place, &info, &target, progress).await?;
    Ok(tally)
}

/// Copies a file to standard output.
///
/// # Errors
/// When it cannot be read to its end, or nobody takes it.
pub async fn stream(remote: &Remote<'_>, place: &Place) -> Result<Tally> {
    let mut content = remote.read(&place.path).await?;
    while let Some(bytes) = piece(&mut content).await? {
        pass_on(&bytes)?;
    }
    Ok(Tally::default())
}

/// Copies one file to where the user says. A link there is the user's own: it is followed.
async fn one_file(
    remote: &Remote<'_>,
    place: &Place,
    info: &FileInfo,
    target: &Path,
    progress: &Progress,
) -> Result<()> {
    let target = target.canonicalize().unwrap_or_else(|_| target.to_owned());
    if fs::metadata(&target).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return into_special(remote, place, &target, progress).await;
    }
    let shown = target.display().to_string();
    let Some(name) = target.file_name().and_then(|name| name.to_str()) else {
        bail!("`{shown}` does not end with a name in UTF-8");
    };
    ensure!(!target.as_os_str().to_string_lossy().ends_with('/'), "there is no directory `{shown}`");
    let parent = Directory::open(target.parent().unwrap_or(Path::new(".")))?;
    file(remote, &place.path, name, mode(info)?, &parent, progress).await.context(shown)
}

/// Copies into a pipe or a device.
async fn into_special(remote: &Remote<'_>, place: &Place, target: &Path, progress: &Progress) -> Result<()> {
    let mut out =
        OpenOptions::new().write(true).open(target).with_context(|| target.display().to_string())?;
    let mut content = remote.read(&place.path).await?;
    while let Some(bytes) = piece(&mut content).await? {
        out.write_all(&bytes)?;
        progress.bytes(bytes.len());
    }
    progress.file();
    Ok(())
}

/// A directory that is being filled.
struct Level {
    directory: Directory,
    /// Its path in the sandbox.
    path: String,
    /// The directories in it that are still to be copied.
    left: vec::IntoIter<FileInfo>,
    /// Its permission bits, if it was made now.
    mode: Option<u32>,
}

/// Copies a directory with all that is in it. What is held is the directories that each level still has to copy.
async fn tree(
    remote: &Remote<'_>,
    place: &Place,
    info: &FileInfo,
    target: &Path,
    progress: &Progress,
    tally: &mut Tally,
) -> Result<()> {
    // A link's own bits say nothing of the directory it leads to.
    let mode = if info.is_dir { mode(info)? } else { 0o755 };
    let path = through(&place.path);
    // Looked at before anything is made for it here.
    let listed = remote.list(&path).await?;
    let (directory, made) = top(place, target)?;
    let level = Level { directory, path, left: Vec::new().into_iter(), mode: made.then_some(mode) };
    let mut levels = vec![begin(remote, level, listed, progress, tally).await?];
    while let (depth, Some(level)) = (levels.len(), levels.last_mut()) {
        let Some(info) = level.left.next() else {
            close(levels.pop(), progress, tally)?;
            continue;
        };
        let path = below(&level.path, &info.name);
        if depth >= DEPTH_MAX {
            let deep = Err(anyhow!("more than {DEPTH_MAX} directories lie in each other"));
            tally.take(&path, deep, progress)?;
            continue;
        }
        match enter(remote, level, &info, path.clone()).await {
            Ok((level, listed)) => levels.push(begin(remote, level, listed, progress, tally).await?),
            Err(error) => tally.take(&path, Err(error), progress)?,
        }
    }
    Ok(())
}

/// A path such that a link at its end is followed: the user named it.
fn through(path: &str) -> String {
    below(path, ".")
}

/// The directory that is filled, and whether it was made now.
fn top(place: &Place, target: &Path) -> Result<(Directory, bool)> {
    let shown = || target.display().to_string();
    if target.is_dir() {
        let there = Directory::open(target)?;
        return match name(&place.path) {
            Some(name) => there.directory(name).with_context(|| target.join(name).display().to_string()),
            None => Ok((there, false)),
        };
    }
    if target.exists() {
        bail!("`{}` is not a directory", shown());
    }
    let (parent, name) = (target.parent().map(PathBuf::from).unwrap_or_default(), target.file_name());
    let Some(name) = name.and_then(|name| name.to_str()) else {
        bail!("`{}` does not end with a name in UTF-8", shown());
    };
    Directory::open(&parent)?.directory(name).with_context(shown)
}

/// A directory in another, and what is in it.
async fn enter(
    remote: &Remote<'_>,
    above: &Level,
    info: &FileInfo,
    path: String,
) -> Result<(Level, Vec<FileInfo>)> {
    let mode = mode(info)?;
    let (directory, made) = above.directory.directory(&info.name)?;
    let listed = remote.list(&path).await?;
    Ok((Level { directory, path, left: Vec::new().into_iter(), mode: made.then_some(mode) }, listed))
}

/// Copies the files of a directory; what is left is the directories in it.
async fn begin(
    remote: &Remote<'_>,
    mut level: Level,
    listed: Vec<FileInfo>,
    progress: &Progress,
    tally: &mut Tally,
) -> Result<Level> {
    let (links, others): (Vec<_>, Vec<_>) = listed.into_iter().partition(|info| info.is_symlink);
    let (directories, files): (Vec<_>, Vec<_>) = others.into_iter().partition(|info| info.is_dir);
    for link in links {
        tally.skip(&below(&level.path, &link.name), "it is a link", progress);
    }
    let copies = files.iter().map(async |info| {
        let path = below(&level.path, &info.name);
        let copied = async { file(remote, &path, &info.name, mode(info)?, &level.directory, progress).await };
        let outcome = copied.await;
        (path, outcome)
    });
    let mut copied = stream::iter(copies).buffer_unordered(AT_ONCE);
    while let Some((path, outcome)) = copied.next().await {
        tally.take(&path, outcome, progress)?;
    }
    drop(copied);
    level.left = directories.into_iter();
    Ok(level)
}

fn close(level: Option<Level>, progress: &Progress, tally: &mut Tally) -> Result<()> {
    let Some(Level { directory, path, mode: Some(mode), .. }) = level else { return Ok(()) };
    tally.take(&path, directory.close(mode), progress)
}

async fn file(
    remote: &Remote<'_>,
    path: &str,
    name: &str,
    mode: u32,
    directory: &Directory,
    progress: &Progress,
) -> Result<()> {
    // Its name first: a wrong one is not worth a question.
    let mut draft = directory.draft(name)?;
    let mut content = remote.read(path).await?;
    while let Some(bytes) = piece(&mut content).await? {
        draft.write(&bytes)?;
        progress.bytes(bytes.len());
    }
    draft.finish(mode)?;
    progress.file();
    Ok(())
}

/// Permission bits; those that would make a program somebody else's are not taken from strangers.
fn mode(info: &FileInfo) -> Result<u32> {
    let bits = u32::from_str_radix(&info.mode, 8);
    Ok(bits.with_context(|| format!("{:?} are no permission bits", info.mode))? & MODE_BITS)
}
