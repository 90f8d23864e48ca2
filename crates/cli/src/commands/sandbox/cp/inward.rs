//! From here into a sandbox.

use std::fs::{self, DirEntry, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, stream};
use rustix::fs::{Mode, OFlags, open};

use super::end::{below, name};
use super::remote::{Kind, Remote};
use super::{AT_ONCE, MODE_BITS, Progress, Tally};
use crate::client::from_reader;
use crate::commands::files::Place;

/// What the owner must be able to do with a directory while it is filled.
const FILL_BITS: u32 = 0o700;

/// Copies a file or directory.
///
/// # Errors
/// When it cannot be read at all, or the server cannot be reached.
pub async fn path(remote: &Remote<'_>, source: &Path, place: &Place, progress: &Progress) -> Result<Tally> {
    let metadata = fs::metadata(source).with_context(|| source.display().to_string())?;
    let kind = remote.kind(&place.path).await?;
    let mut tally = Tally::default();
    let text = source.to_string_lossy();
    if metadata.is_dir() {
        let target = match (kind, named(source, &text)) {
            (Kind::File, _) => bail!("`{}` in the sandbox is not a directory", place.path),
            (Kind::Directory, Some(name)) => below(&place.path, &name),
            _ => place.path.clone(),
        };
        directory(remote, source.to_owned(), target, progress, &mut tally).await?;
        return Ok(tally);
    }
    let target = match (kind, name(&text)) {
        (Kind::Directory, Some(name)) => below(&place.path, name),
        (Kind::Missing, _) if place.path.ends_with('/') => {
            bail!("there is no directory `{}` in the sandbox", place.path)
        }
        _ => place.path.clone(),
    };
    let file = File::open(source).with_context(|| source.display().to_string())?;
    write(remote, file, &metadata, &target, progress).await?;
    Ok(tally)
}

/// Copies standard input to a file.
///
/// # Errors
/// When it cannot be read or written.
pub async fn stream(remote: &Remote<'_>, place: &Place, progress: &Progress) -> Result<Tally> {
    remote.write(&place.path, None, from_reader(progress.counted(std::io::stdin()))).await?;
    progress.file();
    Ok(Tally::default())
}

/// The name a directory keeps; none if its contents alone are meant.
fn named(source: &Path, text: &str) -> Option<String> {
    match text.trim_end_matches('/').rsplit('/').next() {
        Some("..") => {
            let real = source.canonicalize().ok()?;
            Some(real.file_name()?.to_str()?.to_owned())
        }
        _ => name(text).map(str::to_owned),
    }
}

/// Copies a directory with all that is in it, one directory after the other: what is held is names.
async fn directory(
    remote: &Remote<'_>,
    source: PathBuf,
    target: String,
    progress: &Progress,
    tally: &mut Tally,
) -> Result<()> {
    let mut waiting = vec![(source, target)];
    // Directories that get their own bits when they are full.
    let mut closing = Vec::new();
    while let Some((here, there)) = waiting.pop() {
        let shown = here.display().to_string();
        let opened = async {
            let mode = fs::metadata(&here)?.mode() & MODE_BITS;
            remote.make_directory(&there, mode | FILL_BITS).await?;
            let mut entries = fs::read_dir(&here)?.collect::<std::io::Result<Vec<_>>>()?;
            entries.sort_by_key(DirEntry::file_name);
            anyhow::Ok((mode, entries))
        };
        let (mode, entries) = match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                tally.take(&shown, Err(error), progress)?;
                continue;
            }
        };
        if mode & FILL_BITS != FILL_BITS {
            closing.push((there.clone(), mode));
        }
        let mut files = Vec::new();
        for entry in entries {
            let found = sort(&entry, &there, progress, tally, &mut waiting, &mut files);
            tally.take(&entry.path().display().to_string(), found, progress)?;
        }
        let writes =
            files.iter().map(async |(here, there)| (here, copy_file(remote, here, there, progress).await));
        let mut written = stream::iter(writes).buffer_unordered(AT_ONCE);
        while let Some((here, outcome)) = written.next().await {
            tally.take(&here.display().to_string(), outcome, progress)?;
        }
    }
    for (there, mode) in closing.into_iter().rev() {
        let outcome = remote.set_mode(&there, mode).await;
        tally.take(&there, outcome, progress)?;
    }
    Ok(())
}

/// Says of an entry of a directory whether it is one itself, or a file, or left out.
fn sort(
    entry: &DirEntry,
    there: &str,
    progress: &Progress,
    tally: &mut Tally,
    directories: &mut Vec<(PathBuf, String)>,
    files: &mut Vec<(PathBuf, String)>,
) -> Result<()> {
    let (path, name) = (entry.path(), entry.file_name());
    let Some(name) = name.to_str() else { bail!("its name is not UTF-8, which the API wants") };
    let kind = entry.file_type()?;
    if kind.is_dir() {
        directories.push((path, below(there, name)));
    } else if kind.is_file() {
        files.push((path, below(there, name)));
    } else {
        let why = if kind.is_symlink() { "it is a link" } else { "it is no file and no directory" };
        tally.skip(&path.display().to_string(), why, progress);
    }
    Ok(())
}

async fn copy_file(remote: &Remote<'_>, here: &Path, there: &str, progress: &Progress) -> Result<()> {
    // Something else may have been put there meanwhile.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(open(here, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    write(remote, file, &metadata, there, progress).await
}

async fn write(
    remote: &Remote<'_>,
    file: File,
    metadata: &Metadata,
    target: &str,
    progress: &Progress,
) -> Result<()> {
    // What is no file, such as a pipe, has no bits worth keeping.
    let mode = metadata.is_file().then(|| metadata.mode() & MODE_BITS);
    remote.write(target, mode, from_reader(progress.counted(file))).await?;
    progress.file();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_name_unless_its_contents_are_meant() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(named(Path::new(text), text).as_deref(), expect, "{text:?}");
        };
        check("a/b", Some("b"));
        check("a/b/", Some("b"));
        check("a/b/.", None);
        check(".", None);
        check("/", None);
        let parent = std::env::current_dir().unwrap().parent().unwrap().to_owned();
        check("..", parent.file_name().and_then(|name| name.to_str()));
    }
}
