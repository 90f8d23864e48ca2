//! Files inside a sandbox: what can be asked of them, and what is answered.
//!
//! Every operation is carried out as the sandbox's user, relative paths begin
//! at the workdir, and no path leads out of the sandbox.

use serde::{Deserialize, Serialize};

/// An operation that is answered in one word, carried out whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum FileCall {
    /// What a path is; a link is described, not followed. Ends with [`super::Done::Info`].
    Stat {
        /// Which.
        path: String,
    },
    /// Whether something is there, seen through links. Ends with [`super::Done::Truth`].
    Exists {
        /// Which.
        path: String,
    },
    /// Makes a directory. Ends with [`super::Done::Nothing`].
    MakeDirectory {
        /// Which.
        path: String,
        /// Also its missing parents; a directory that is there already is then no failure.
        recursive: bool,
        /// Permission bits of what is made, whatever the umask.
        mode: u32,
    },
    /// Removes a file, a link (not what it leads to) or a directory. Ends with [`super::Done::Nothing`].
    Remove {
        /// Which.
        path: String,
        /// Also a directory with something in it.
        recursive: bool,
    },
    /// Changes permissions or ownership; links are followed. Ends with [`super::Done::Nothing`].
    SetPermissions {
        /// Which.
        path: String,
        /// Permission bits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
        /// A user's name or number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        /// A group's name or number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
    },
    /// Renames; across file systems copies and removes. Ends with [`super::Done::Nothing`].
    Move {
        /// What.
        from: String,
        /// Its new path; into it, if that is a directory.
        to: String,
        /// Whether something that is there may be replaced.
        overwrite: bool,
    },
    /// Copies with permissions and times; links as links. Ends with [`super::Done::Nothing`].
    Copy {
        /// What.
        from: String,
        /// The path of the copy; into it, if that is a directory.
        to: String,
        /// Whether a directory may be copied, with all that is in it.
        recursive: bool,
        /// Whether something that is there may be replaced.
        overwrite: bool,
    },
    /// Replaces text in a file, which appears changed whole or not at all. Ends with [`super::Done::Edited`].
    Edit {
        /// Which; at most [`EDIT_BYTES_MAX`] long.
        path: String,
        /// Carried out in order, each on what the one before it left.
        edits: Vec<Edit>,
    },
    /// Opens each for reading and closes it again. Ends with [`super::Done::Nothing`] or what is wrong with the first
    /// that is not a file that may be read.
    CheckReadable {
        /// Which.
        paths: Vec<String>,
    },
}

/// The longest file that can be edited in place, in bytes.
pub const EDIT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// One replacement: every occurrence of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The text, as it is; never empty.
    pub find: String,
    /// What comes in its place.
    pub replace: String,
}

/// A walk over a tree, whose findings are Data on [`super::frame::Channel::Stdout`]: one JSON value a line,
/// [`FileInfo`] for `List`, a string for `Glob`, [`Match`] for `Grep`, [`Node`] for `Tree`.
///
/// What may not be entered is left out, but for the path itself. Names that are not UTF-8 are shown with replacement
/// characters. Ends with [`super::Done::Walked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "find", rename_all = "snake_case")]
pub enum Walk {
    /// What is in a directory, by name; a file is listed as itself.
    List {
        /// Which.
        path: String,
        /// Also what is in its directories.
        recursive: bool,
        /// Names (shell patterns) to leave out, directories with all that is in them.
        exclude: Vec<String>,
    },
    /// Paths that fit a pattern.
    Glob {
        /// Where to look.
        path: String,
        /// Without `/`: of names at any depth; with: of paths from `path` on, where `**` is any depth.
        pattern: String,
        /// As in `List`.
        exclude: Vec<String>,
    },
    /// Lines that contain a text, in files that are text.
    Grep {
        /// A directory, or one file.
        path: String,
        /// The text, as it is.
        pattern: String,
        /// Only files whose name fits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        include: Option<String>,
        /// As in `List`.
        exclude: Vec<String>,
    },
    /// Everything below a directory, each directory before what is in it.
    Tree {
        /// Which.
        path: String,
        /// Levels to go down; 1 is what `List` shows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_depth: Option<u32>,
        /// As in `List`.
        exclude: Vec<String>,
    },
}

/// One file, directory or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileInfo {
    /// Its name.
    pub name: String,
    /// Its absolute path.
    pub path: String,
    /// Whether it is a directory (and not a link to one).
    pub is_dir: bool,
    /// Its size in bytes.
    pub size: u64,
    /// Permission bits in octal, as in `755`.
    pub mode: String,
    /// When it was changed last, in Unix seconds.
    pub mtime: i64,
    /// The name of its owner; the number where it has no name.
    pub owner: String,
    /// The name of its group; the number where it has no name.
    pub group: String,
    /// Whether it is a symbolic link.
    pub is_symlink: bool,
    /// Where the link leads, as it is written there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_target: Option<String>,
}

/// A line that contains what was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Match {
    /// The file's absolute path.
    pub path: String,
    /// The line's number, from 1.
    pub line: u64,
    /// The line, without its end; cut after [`MATCH_BYTES_MAX`].
    pub content: String,
}

/// How much is shown of a line that matches, in bytes.
pub const MATCH_BYTES_MAX: usize = 8 * 1024;

/// One step of a walk over a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// 0 for what is in the directory itself.
    pub depth: u32,
    /// Its name.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}
