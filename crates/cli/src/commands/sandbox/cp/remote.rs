//! The files of one sandbox, as the API shows them.

use anyhow::Result;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use wire::public::file::{FileInfo, FileList, ListFiles, MakeDirectory, OneFile, ReadFile, SetPermissions};

use super::end::below;
use crate::client::{Body, Failure, Session, encoded};
use crate::commands::files::Place;
use crate::commands::sandbox::resolve;

/// The files of one sandbox.
pub struct Remote<'a> {
    session: &'a Session,
    base: String,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Missing,
    /// A directory, or a link to one.
    Directory,
    /// Anything else.
    File,
}

impl<'a> Remote<'a> {
    /// Those of the sandbox of a place.
    ///
    /// # Errors
    /// When no sandbox or more than one fits.
    pub async fn of(session: &'a Session, place: &Place) -> Result<Self> {
        let base = format!("/v1/sandbox/{}/filesystem", resolve(session, &place.sandbox).await?);
        Ok(Self { session, base })
    }

    /// What is at a path, links followed.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn kind(&self, path: &str) -> Result<Kind> {
        let Some(info) = there(self.stat(path).await)? else { return Ok(Kind::Missing) };
        let is_directory = info.is_dir || info.is_symlink && self.leads_to_directory(path).await?;
        Ok(if is_directory { Kind::Directory } else { Kind::File })
    }

    /// Whether a link leads to a directory: something can then be looked at through it.
    async fn leads_to_directory(&self, path: &str) -> Result<bool> {
        match self.list(&below(path, ".")).await {
            Ok(_) => Ok(true),
            Err(error) if is_refusal(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is known of a path, links not followed.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn stat(&self, path: &str) -> Result<FileInfo> {
        let order = OneFile { path: path.to_owned() };
        self.session.client.json(Method::POST, &self.operation("stat"), &order).await
    }

    /// What is in a directory.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn list(&self, path: &str) -> Result<Vec<FileInfo>> {
        let order = ListFiles { path: path.to_owned(), ..ListFiles::default() };
        let list: FileList = self.session.client.json(Method::POST, &self.operation("ls"), &order).await?;
        Ok(list.items)
    }

    /// A file, to be read as it comes.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn read(&self, path: &str) -> Result<Incoming> {
        let order = ReadFile { path: path.to_owned(), ..ReadFile::default() };
        let answer = self.session.client.asked(Method::POST, &self.operation("read-file"), &order).await?;
        Ok(answer.into_body())
    }

    /// Writes a file, which changes when all has come.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn write(&self, path: &str, mode: Option<u32>, body: Body) -> Result<()> {
        let mode = mode.map(|mode| format!("&permissions={mode:o}")).unwrap_or_default();
        let path = format!("{}?path={}{mode}", self.operation("write-file"), encoded(path));
        self.session.client.upload(&path, body).await
    }

    /// Makes a directory, unless it is there.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn make_directory(&self, path: &str, mode: u32) -> Result<()> {
        let order = MakeDirectory {
            path: path.to_owned(),
            recursive: Some(true),
            permissions: Some(format!("{mode:o}")),
        };
        self.session.client.order(Method::POST, &self.operation("mkdir"), &order).await
    }

    /// Gives a file or directory these permission bits.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn set_mode(&self, path: &str, mode: u32) -> Result<()> {
        let order = SetPermissions {
            path: path.to_owned(),
            mode: Some(format!("{mode:o}")),
            ..SetPermissions::default()
        };
        self.session.client.order(Method::POST, &self.operation("set-permissions"), &order).await
    }

    fn operation(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }
}

/// That nothing is there is an answer.
fn there(info: Result<FileInfo>) -> Result<Option<FileInfo>> {
    match info {
        Err(error) if code(&error) == Some("file_not_found") => Ok(None),
        other => other.map(Some),
    }
}

fn code(error: &anyhow::Error) -> Option<&str> {
    match error.downcast_ref()? {
        Failure::Refused { code, .. } => Some(code),
        _ => None,
    }
}

fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Failure::Refused { status, .. })
        if status.is_client_error() && *status != StatusCode::TOO_MANY_REQUESTS)
}
