//! Shapes that types alone do not say: bounds, alphabets, formats. For `contract/public.json`; no value has these types.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::limits::{
    FILES_MAX, FORK_COUNT, IDEMPOTENCY_KEY_CHARS_MAX, PAGE_MAX, PAGE_SIZE, PAGE_SIZE_MAX,
    SNAPSHOT_NAME_CHARS, TREE_DEPTH,
};
use super::sandbox::{LISTED_STATES, PUBLIC_PORTS_MAX};
use super::{key, presigned, team, template};
use crate::guest::pty::{ID_BYTES_MAX, SIDE_MAX};
use crate::id::{ALPHABET, SUFFIX_CHARS};
use crate::image::SOURCE_CHARS_MAX;
use crate::sandbox::{defaults, limits};

/// Names a shape, to be used as `#[schemars(with = "…")]`.
macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident = $schema:tt;)*) => {$(
        $(#[$doc])*
        pub enum $name {}

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

/// No NUL, which Linux allows in no path, argument or variable.
const NO_NUL: &str = r"^[^\u0000]*$";

shapes! {
    /// A path inside a sandbox.
    Path = { "type": "string", "minLength": 1, "maxLength": limits::PATH_BYTES_MAX, "pattern": NO_NUL };
    /// Paths inside a sandbox.
    Paths = {
        "type": "array",
        "minItems": 1,
        "maxItems": FILES_MAX,
        "items": { "type": "string", "minLength": 1, "maxLength": limits::PATH_BYTES_MAX, "pattern": NO_NUL },
    };
    /// A shell pattern, or a text to look for.
    Pattern = { "type": "string", "minLength": 1, "maxLength": 4096 };
    /// Levels of a tree.
    TreeDepth = { "type": "integer", "minimum": TREE_DEPTH.start(), "maximum": TREE_DEPTH.end() };
    /// An environment.
    Environment = {
        "type": "object",
        "maxProperties": limits::ENV_VARS_MAX,
        "propertyNames": { "pattern": r"^[^=\u0000]+$" },
        "additionalProperties": { "type": "string", "pattern": NO_NUL },
    };
    /// The id of a terminal.
    PtyIdText = { "type": "string", "minLength": 1, "maxLength": ID_BYTES_MAX, "pattern": NO_NUL };
    /// Columns or rows of a terminal.
    PtySide = { "type": "integer", "minimum": 1, "maximum": SIDE_MAX };
    /// A script for a shell.
    Script = { "type": "string", "minLength": 1, "maxLength": limits::COMMAND_BYTES_MAX, "pattern": NO_NUL };
    /// A program and its arguments.
    Argv = {
        "type": "array",
        "minItems": 1,
        "items": { "type": "string", "pattern": NO_NUL },
    };
    /// A name of a template.
    TemplateName = {
        "type": "string",
        "minLength": limits::TEMPLATE_NAME_CHARS.start(),
        "maxLength": limits::TEMPLATE_NAME_CHARS.end(),
        "pattern": r"\S",
        "default": defaults::TEMPLATE,
    };
    /// Virtual CPUs of a sandbox.
    Vcpu = {
        "type": "integer",
        "minimum": limits::VCPU.start(),
        "maximum": limits::VCPU.end(),
        "default": defaults::VCPU,
    };
    /// Memory of a sandbox, in MiB.
    MemoryMib = {
        "type": "integer",
        "minimum": limits::MEMORY_MIB.start(),
        "maximum": limits::MEMORY_MIB.end(),
        "multipleOf": 2,
        "default": defaults::MEMORY_MIB,
    };
    /// A name of a template that is not ours.
    OwnTemplateName = {
        "type": "string",
        "minLength": limits::TEMPLATE_NAME_CHARS.start(),
        "maxLength": limits::TEMPLATE_NAME_CHARS.end(),
        "pattern": r"^[^\s\u0000-\u001f\u007f-\u009f]+$",
    };
    /// A name of a snapshot.
    SnapshotName = {
        "type": "string",
        "minLength": SNAPSHOT_NAME_CHARS.start(),
        "maxLength": SNAPSHOT_NAME_CHARS.end(),
        "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
    };
    /// What the names of snapshots are looked through for.
    SnapshotQuery = { "type": "string", "maxLength": SNAPSHOT_NAME_CHARS.end() };
    /// What snapshots can be sorted by.
    SnapshotSort = { "type": "string", "enum": ["created_at", "template_id"], "default": "created_at" };
    /// Copies of a sandbox.
    ForkCount = { "type": "integer", "minimum": FORK_COUNT.start(), "maximum": FORK_COUNT.end(), "default": 1 };
    /// Where an image comes from.
    ImageSourceText = { "type": "string", "minLength": 1, "maxLength": SOURCE_CHARS_MAX };
    /// Virtual CPUs of a template's sandboxes.
    OwnVcpu = { "type": "integer", "minimum": limits::VCPU.start(), "maximum": limits::VCPU.end() };
    /// Memory of a template's sandboxes, in MiB.
    OwnMemoryMib = {
        "type": "integer",
        "minimum": limits::MEMORY_MIB.start(),
        "maximum": limits::MEMORY_MIB.end(),
        "multipleOf": 2,
    };
    /// What can be written in a sandbox, in MiB.
    DiskMib = { "type": "integer", "minimum": limits::DISK_MIB.start(), "maximum": limits::DISK_MIB.end() };
    /// A command line that is started with a sandbox.
    StartCommand = {
        "type": "string",
        "minLength": 1,
        "maxLength": template::limits::START_CMD_BYTES_MAX,
        "pattern": NO_NUL,
    };
    /// A TCP port.
    PortNumber = { "type": "integer", "minimum": 1, "maximum": 65_535 };
    /// TCP ports.
    Ports = {
        "type": "array",
        "maxItems": PUBLIC_PORTS_MAX,
        "items": { "type": "integer", "minimum": 1, "maximum": 65_535 },
    };
    /// The path of a URL.
    UrlPath = { "type": "string", "maxLength": limits::PATH_BYTES_MAX, "pattern": "^/[!-~]*$" };
    /// Time for a sandbox to be up, in seconds.
    ReadySeconds = {
        "type": "integer",
        "minimum": limits::READY_TIMEOUT_SECONDS.start(),
        "maximum": limits::READY_TIMEOUT_SECONDS.end(),
        "default": defaults::ready_timeout_seconds(),
    };
    /// Sandboxes of a pool.
    PoolSize = {
        "type": "integer",
        "minimum": template::limits::POOL.start(),
        "maximum": template::limits::POOL.end(),
    };
    /// How long what is pruned has not been used, in seconds.
    IdleSeconds = {
        "type": "integer",
        "minimum": template::limits::IDLE_SECONDS.start(),
        "maximum": template::limits::IDLE_SECONDS.end(),
        "default": template::defaults::IDLE_SECONDS,
    };
    /// Life of a sandbox, in seconds.
    TimeoutSeconds = {
        "type": "integer",
        "minimum": limits::TIMEOUT_SECONDS.start(),
        "maximum": limits::TIMEOUT_SECONDS.end(),
        "default": defaults::TIMEOUT_SECONDS,
    };
    /// Life of a sandbox from now on, or what is added to it, in seconds.
    MoreSeconds = {
        "type": "integer",
        "minimum": limits::TIMEOUT_SECONDS.start(),
        "maximum": limits::TIMEOUT_SECONDS.end(),
    };
    /// Life of a command, in seconds.
    CommandSeconds = {
        "type": "integer",
        "minimum": limits::COMMAND_TIMEOUT_SECONDS.start(),
        "maximum": limits::COMMAND_TIMEOUT_SECONDS.end(),
    };
    /// The id of a process, as its starter chose it.
    ProcessName = {
        "type": "string",
        "minLength": 1,
        "maxLength": crate::guest::process::ID_BYTES_MAX,
        "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
    };
    /// The number of an event.
    EventNumber = { "type": "integer", "minimum": 0 };
    /// What is not supported yet, and may only be left out or empty.
    NotYetAny = { "type": "array", "items": {}, "maxItems": 0 };
    /// What people call a key or a team; white space around it does not count.
    Name = {
        "type": "string",
        "minLength": key::limits::NAME_CHARS.start(),
        "maxLength": key::limits::NAME_CHARS.end(),
        "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
    };
    /// What a key opens.
    Scopes = {
        "type": "array",
        "minItems": 1,
        "items": { "type": "string", "enum": key::Scope::ALL.map(key::Scope::as_str) },
    };
    /// Life of a key, in seconds.
    KeySeconds = {
        "type": "integer",
        "minimum": key::limits::EXPIRES_IN_SECONDS.start(),
        "maximum": key::limits::EXPIRES_IN_SECONDS.end(),
    };
    /// Life of a presigned URL, in seconds.
    PresignedSeconds = {
        "type": "integer",
        "minimum": presigned::limits::EXPIRES_IN_SECONDS.start(),
        "maximum": presigned::limits::EXPIRES_IN_SECONDS.end(),
        "default": presigned::defaults::EXPIRES_IN_SECONDS,
    };
    /// How many sandboxes, vCPUs or MiB a team may have.
    LimitOnAmount = {
        "type": "integer",
        "minimum": team::limits::AMOUNT.start(),
        "maximum": team::limits::AMOUNT.end(),
    };
    /// How many keys a team may have.
    LimitOfKeys = {
        "type": "integer",
        "minimum": team::limits::KEYS.start(),
        "maximum": team::limits::KEYS.end(),
    };
    /// How many requests a team may make.
    LimitOfRequests = {
        "type": "integer",
        "minimum": team::limits::REQUESTS.start(),
        "maximum": team::limits::REQUESTS.end(),
    };
    /// A point in time, RFC 3339 in UTC.
    Time = { "type": "string", "format": "date-time" };
    /// Bytes, in base64.
    Base64 = { "type": "string", "contentEncoding": "base64" };
    /// The `Idempotency-Key` header.
    IdempotencyKey = {
        "type": "string",
        "minLength": 1,
        "maxLength": IDEMPOTENCY_KEY_CHARS_MAX,
        "pattern": "^[!-~]+$",
    };
    /// A number of a page.
    Page = { "type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 1 };
    /// Items on a page.
    PageSize = { "type": "integer", "minimum": 1, "maximum": PAGE_SIZE_MAX, "default": PAGE_SIZE };
    /// What a list of sandboxes is sorted by.
    SandboxSort = { "type": "string", "enum": ["created_at", "state"], "default": "created_at" };
    /// Which end of a list comes first.
    OrderBy = { "type": "string", "enum": ["asc", "desc"], "default": "desc" };
    /// The state of a sandbox that is in lists.
    ListedState = { "type": "string", "enum": LISTED_STATES };
    /// Yes or no.
    Truth = { "type": "boolean", "default": false };
    /// The name or id of a template.
    TemplateFilter = { "type": "string" };
    /// Octal permission bits, such as `644`.
    Mode = { "type": "string", "pattern": "^0*[0-7]{1,4}$" };
    /// The same for a directory to be made.
    DirectoryMode = { "type": "string", "pattern": "^0*[0-7]{1,4}$", "default": "755" };
    /// Whatever the party asked says; for people.
    FreeForm = {};
}

/// An id: a kind's prefix, a dash, and letters and digits.
pub fn id(prefix: &str) -> Schema {
    let alphabet = String::from_utf8_lossy(ALPHABET);
    json_schema!({ "type": "string", "pattern": format!("^{prefix}-[{alphabet}]{{{SUFFIX_CHARS}}}$") })
}
