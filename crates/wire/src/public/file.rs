//! Files in a sandbox.

use serde::{Deserialize, Serialize};

pub use crate::guest::file::{FileInfo, Match};

#[cfg(feature = "schema")]
use super::schema::{DirectoryMode, Mode, Path, Paths, Pattern, TreeDepth};

/// What to read of a file: all of it, a range of its bytes, or lines at one of its ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadFile {
    /// Which.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub path: String,
    /// The first byte, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How many bytes, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// So many lines from its beginning. Not together with any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<u64>,
    /// So many lines from its end. Not together with any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u64>,
}

/// Files to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadFiles {
    /// Which.
    #[cfg_attr(feature = "schema", schemars(with = "Paths"))]
    pub paths: Vec<String>,
}

/// A file, directory or link that is asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OneFile {
    /// Which.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub path: String,
}

/// Whether something is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Existence {
    /// Whether it is.
    pub exists: bool,
}

/// A directory to list. A file is listed as itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListFiles {
    /// Which.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub path: String,
    /// Also what is in its directories. Absent: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
    /// Shell patterns of what to leave out, directories with all that is in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<Pattern>>"))]
    pub exclude: Option<Vec<String>>,
}

/// What is in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileList {
    /// Each.
    pub items: Vec<FileInfo>,
}

/// Files to look for by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Glob {
    /// Where to look.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub path: String,
    /// A shell pattern. Without `/`: of names at any depth; with: of paths from `path` on, where `**` is any depth.
    #[cfg_attr(feature = "schema", schemars(with = "Pattern"))]
    pub pattern: String,
    /// As in listing files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<Pattern>>"))]
    pub exclude: Option<Vec<String>>,
}

/// Files that were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PathList {
    /// Their absolute paths.
    pub items: Vec<String>,
}

/// A text to look for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Grep {
    /// A directory, or one file.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub path: String,
    /// The text, as it is: no expression. Within one line.
    #[cfg_attr(feature = "schema", schemars(with = "Pattern"))]
    pub pattern: String,
    /// A shell pattern: only files that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Pattern>"))]
    pub include: Option<String>,
    /// As in listing files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<Pattern>>"))]
    pub exclude: Option<Vec<String>>,
}

/// Lines that were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MatchList {
    /// Each.
    pub items: Vec<Match>,
}

/// A directory to show with all that is below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tree {
    /// Which.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub path: String,
    /// Levels to go down. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<TreeDepth>"))]
    pub max_depth: Option<u32>,
    /// As in listing files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<Pattern>>"))]
    pub exclude: Option<Vec<String>>,
}

/// What is in a directory, and in the directories in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileTree {
    /// What is in the directory itself.
    pub items: Vec<TreeNode>,
}

/// A file, or a directory and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TreeNode {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: NodeKind,
    /// What is in it; there for directories, empty for those that may not be entered or lie too deep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children: Option<Vec<TreeNode>>,
}

/// What something in a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Anything but a directory: links too, wherever they lead.
    File,
    /// A directory.
    Directory,
}

/// A directory to make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MakeDirectory {
    /// Which.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub path: String,
    /// Also its missing parents; a directory that is there already is then no failure. Absent: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
    /// Permission bits of what is made, in octal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<DirectoryMode>"))]
    pub permissions: Option<String>,
}

/// Something to delete: a file, a link (not what it leads to) or a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeleteFile {
    /// Which.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub path: String,
    /// Also a directory with something in it. Absent: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
}

/// Permissions or ownership to change: at least one of `mode`, `owner` and `group`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SetPermissions {
    /// Of what; links are followed.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub path: String,
    /// Permission bits, in octal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Mode>"))]
    pub mode: Option<String>,
    /// A user's name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// A group's name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Something to move.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MoveFile {
    /// What.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub src_path: String,
    /// Its new path; into it, if that is a directory.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub dst_path: String,
    /// Whether something that is there may be replaced. Absent: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwrite: Option<bool>,
}

/// Something to copy, with permissions and times; links as links.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CopyFile {
    /// What.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub src_path: String,
    /// The path of the copy; into it, if that is a directory.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub dst_path: String,
    /// Whether a directory may be copied, with all that is in it. Absent: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
    /// Whether something that is there may be replaced. Absent: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwrite: Option<bool>,
}

/// Text to replace in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EditFile {
    /// Which.
    #[cfg_attr(feature = "schema", schemars(with = "Path"))]
    pub path: String,
    /// Carried out in order, each on what the one before it left.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = super::limits::EDITS_MAX)))]
    pub edits: Vec<Edit>,
}

/// One replacement: every occurrence of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Edit {
    /// The text, as it is.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub find: String,
    /// What comes in its place. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<String>,
}

/// What an edit changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Edited {
    /// The change as a unified diff; empty if nothing changed.
    pub diff: String,
    /// Occurrences replaced, over all edits.
    pub replacements: u64,
}

/// Text to replace in several files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EditFiles {
    /// Which.
    #[cfg_attr(feature = "schema", schemars(with = "Paths"))]
    pub files: Vec<String>,
    /// The text, as it is.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub find: String,
    /// What comes in its place. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<String>,
}

/// What became of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FilesEdited {
    /// In the order they were named.
    pub items: Vec<FileEdited>,
}

/// What became of one of several files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileEdited {
    /// Its path, as it was asked for.
    pub file: String,
    /// Whether the edit was carried out, be it that there was nothing to replace.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
