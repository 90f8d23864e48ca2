//! Terminals of a sandbox.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::schema::{Argv, Environment, Path, PtyIdText, PtySide, Script};

/// Columns of a terminal, unless something else is asked for.
pub const DEFAULT_COLS: u16 = 80;
/// Rows of a terminal, unless something else is asked for.
pub const DEFAULT_ROWS: u16 = 24;

/// `POST /v1/sandbox/{id}/pty`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreatePty {
    /// Its id, any text, which no other terminal of the sandbox has. Absent: one is made up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<PtyIdText>"))]
    pub id: Option<String>,
    /// Columns. Absent: 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<PtySide>"))]
    pub cols: Option<u16>,
    /// Rows. Absent: 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<PtySide>"))]
    pub rows: Option<u16>,
    /// Where the program starts. Absent: the sandbox's workdir.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Path>"))]
    pub cwd: Option<String>,
    /// Added to the sandbox's environment, and to `TERM=xterm-256color`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Environment>"))]
    pub envs: Option<BTreeMap<String, String>>,
    /// Whether the program starts with the first connection, and not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lazy_start: Option<bool>,
    /// A script for `/bin/sh -c` that runs in it. Absent, like `argv`: the user's login shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Script>"))]
    pub command: Option<String>,
    /// A program and its arguments, run without a shell. Not together with `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Argv>"))]
    pub argv: Option<Vec<String>>,
    /// As whom: a name or number, either with `:group`. Absent: the sandbox's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// `POST /v1/sandbox/{id}/pty/{pty_id}/resize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ResizePty {
    /// Columns.
    #[cfg_attr(feature = "schema", schemars(with = "PtySide"))]
    pub cols: u16,
    /// Rows.
    #[cfg_attr(feature = "schema", schemars(with = "PtySide"))]
    pub rows: u16,
}

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pty {
    /// Its id.
    pub id: String,
    /// Where its program starts.
    pub cwd: String,
    /// As in [`CreatePty::envs`]; empty if none were given.
    pub envs: BTreeMap<String, String>,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// When it was made.
    pub created_at: String,
    /// Whether its program runs.
    pub active: bool,
    /// As in [`CreatePty::lazy_start`].
    pub lazy_start: bool,
}

/// `GET /v1/sandbox/{id}/pty`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PtyList {
    /// In the order they were made.
    pub items: Vec<Pty>,
}
