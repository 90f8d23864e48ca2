//! Everything that can go wrong in control, in the words of those who ask for things.
//!
//! Which status and code each becomes is decided in `http/respond.rs` alone.

use wire::id::SandboxId;
use wire::node::{NodeError, NodeErrorCode, PullFailure};
use wire::public::error::FieldError;
use wire::sandbox::Reason;

use crate::nodes::NodeFailure;
use crate::secrets::Unopened;
use crate::store::Trouble;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A cause that is only ever logged.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of a body, a query or a header were wrong.
    #[error("the request is not valid: {}", list(.0))]
    Fields(Vec<FieldError>),
    /// The body could not be read as what it should be.
    #[error("{0}")]
    Body(String),
    /// The client stopped sending in the middle of a body.
    #[error("the request's body stopped arriving; send it again")]
    BodyStalled,
    /// A body is larger than its limit.
    #[error("{what} is larger than {bytes_max} bytes, which is the limit; send it in smaller parts")]
    TooLarge {
        /// What is.
        what: &'static str,
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// No key, or one that is not known.
    #[error(
        "the API key is missing or not known; send it as `authorization: Bearer <key>` or `leap0-authorization: <key>`"
    )]
    Unauthorized,
    /// The key has not the scope `team`.
    #[error("this needs a key with the scope `team`, and the key given has only `operator`")]
    TeamOnly,
    /// The key has not the scope `operator`.
    #[error("this needs an operator's key, and the key given is a team's")]
    OperatorOnly,
    /// No such path.
    #[error("there is nothing at this path; the API is under /v1")]
    NoSuchRoute,
    /// The path is there, the method is not.
    #[error("this path does not have that method; the `allow` header names those it has")]
    MethodNotAllowed,
    /// No such object, or it is another team's.
    #[error("there is no {kind} {name:?}")]
    NotFound {
        /// `sandbox`, `template`.
        kind: &'static str,
        /// What was asked for.
        name: String,
    },
    /// A name that is to be one's own is another's.
    #[error("there is a {kind} with the name {name:?} already; choose another")]
    AlreadyExists {
        /// `team`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The team would have more than it may.
    #[error(
        "the team has {used} of at most {limit} {what}, and {wanted} more would be too many; \
         delete some, or have an operator raise the limit"
    )]
    TeamLimit {
        /// Of what.
        what: &'static str,
        /// How many it may have.
        limit: u64,
        /// How many it has.
        used: u64,
        /// How many more were asked for.
        wanted: u64,
    },
    /// A sandbox would have more than it may.
    #[error("the sandbox has {limit} {what}, which is the limit (`{name}`); delete some first")]
    SandboxLimit {
        /// Of what.
        what: &'static str,
        /// What the limit is called.
        name: &'static str,
        /// How many it may have.
        limit: u32,
    },
    /// No such presigned URL: the token was never one, has expired or was taken back, or its sandbox is gone.
    #[error("this URL leads nowhere: it has expired or was taken back, or its sandbox is gone")]
    NoSuchUrl,
    /// The team asks too often.
    #[error("the team asks more often than {per_second} times a second; wait {seconds} s and ask again")]
    RateLimited {
        /// How often it may ask.
        per_second: u32,
        /// When it may ask again.
        seconds: u64,
    },
    /// Nobody could operate the fleet any more.
    #[error("this would leave no key with the scope `operator`; make another one first")]
    LastOperatorKey,
    /// A team that is to go has sandboxes.
    #[error("the team {name:?} has {sandboxes} sandboxes; delete them first")]
    TeamInUse {
        /// Which.
        name: String,
        /// How many.
        sandboxes: u32,
    },
    /// A sandbox that is paused would be more than its team may have running.
    #[error("the sandbox stays paused: {0}")]
    StaysPaused(Box<Error>),
    /// The sandbox was paused before an operation in it ended.
    #[error("sandbox {id} was paused before the operation ended; the next request wakes it")]
    PausedMeanwhile {
        /// Which.
        id: SandboxId,
    },
    /// The sandbox is going away.
    #[error("sandbox {id} is being deleted ({reason}); create a new one")]
    SandboxDeleting {
        /// Which.
        id: SandboxId,
        /// Why.
        reason: Reason,
    },
    /// The sandbox is gone.
    #[error("sandbox {id} is gone ({reason}{}); create a new one", colon(.detail))]
    SandboxDeleted {
        /// Which.
        id: SandboxId,
        /// Why.
        reason: Reason,
        /// What was seen that says so.
        detail: String,
    },
    /// The sandbox was still being made when the wait was over.
    #[error("sandbox {id} is still {state} after {seconds} s; ask again")]
    StillMoving {
        /// Which.
        id: SandboxId,
        /// In what state.
        state: wire::sandbox::State,
        /// How long was waited.
        seconds: u64,
    },
    /// A sandbox could not be made. Nothing of it is left.
    #[error("the sandbox could not be made: {detail}")]
    CreateFailed {
        /// Which kind of failure, if the node said.
        failure: Option<NodeErrorCode>,
        /// What was seen.
        detail: String,
    },
    /// No node has room.
    #[error("no node has room for {vcpu} vCPU and {memory_mib} MiB; delete sandboxes or try again later")]
    NoCapacity {
        /// Asked for.
        vcpu: u32,
        /// Asked for.
        memory_mib: u32,
    },
    /// No node has the template's image.
    #[error("no node has the image of template {0:?}; build the template again")]
    NoImage(String),
    /// A template of ours was to be changed.
    #[error("the template {0:?} comes with Atoll and cannot be changed; make one of your own from its image")]
    SystemTemplate(String),
    /// The source of a template is no image, or cannot be had.
    #[error("{}", .0.message)]
    Pull(PullFailure),
    /// A template's image cannot be had.
    #[error("the image of template {name:?} cannot be had: {}", .failure.message)]
    TemplateFailed {
        /// The template.
        name: String,
        /// Why.
        failure: PullFailure,
    },
    /// A template's image was still on its way when the wait was over.
    #[error("the image of template {name:?} is still being pulled after {seconds} s; ask again")]
    TemplatePulling {
        /// The template.
        name: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The credentials of a template do not open.
    #[error(
        "the credentials of template {name:?} cannot be read: {why}; put that key back into the file, \
         or give the template new credentials"
    )]
    SealedCredentials {
        /// The template.
        name: String,
        /// Why.
        why: Unopened,
    },
    /// No node answers.
    #[error("no node can be reached; try again later")]
    NoNode,
    /// As many WebSockets as can be are open.
    #[error("the server has as many WebSockets as it can, or is about to stop; try again later")]
    TooManySockets,
    /// The key was used before with another request.
    #[error("this Idempotency-Key was used with a different request; use a new key")]
    IdempotencyKeyReused,
    /// The agent refused.
    #[error("{}", .0.message)]
    Guest(wire::guest::Error),
    /// The node refused.
    #[error("{}", .0.message)]
    Node(NodeError),
    /// The node cannot be reached, or does not keep to the protocol.
    #[error("the sandbox's node cannot be reached; try again later")]
    NodeUnreachable(#[source] NodeFailure),
    /// The connection to the agent ended before the operation did. What became of it is not known.
    #[error("the connection to the sandbox broke before the operation ended; what became of it is not known")]
    Broken(#[source] Source),
    /// Something took longer than its bound.
    #[error("{what} took longer than {seconds} s")]
    Slow {
        /// What did.
        what: &'static str,
        /// The bound.
        seconds: u64,
    },
    /// There is too little room for what more sandboxes would write, and for what ends them.
    #[error(
        "the disk of {path} has {free_mib} MiB free and {reserve_mib} MiB are kept for what must be written, so nothing \
         was made; delete sandboxes, or have an operator make room there, and ask again"
    )]
    StorageFull {
        /// The data directory.
        path: String,
        /// What is free.
        free_mib: u64,
        /// What is kept.
        reserve_mib: u64,
    },
    /// The database's file has been moved, removed or replaced under us.
    #[error(
        "the database {path} is not the file that was opened, and nothing was changed; put it back and ask again"
    )]
    DatabaseMoved {
        /// Where it should be.
        path: String,
    },
    /// The database, or its disk, does not answer.
    #[error(
        "the server's database did not answer within {seconds} s, as its disk is slow; what was asked may or may not \
         have happened: ask again"
    )]
    StoreSlow {
        /// The bound.
        seconds: u64,
    },
    /// The store failed: of this, if it is known.
    #[error("{}", .0.map_or("the store failed", Trouble::text))]
    Store(Option<Trouble>, #[source] sqlx::Error),
    /// A record in the store cannot be read.
    #[error("the record of {id} cannot be read")]
    Corrupt {
        /// Whose.
        id: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// Control cannot start.
    #[error("{0}")]
    Start(String, #[source] Option<Source>),
    /// A fault of ours.
    #[error("{what}")]
    Internal {
        /// What failed.
        what: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
}

impl Error {
    /// A fault of ours.
    pub fn internal(what: &'static str, source: impl Into<Source>) -> Self {
        Self::Internal { what, source: source.into() }
    }

    /// Control cannot start because of this.
    pub fn start(what: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Start(what.into(), Some(source.into()))
    }

    /// One field that is wrong.
    pub fn field(field: impl Into<String>, error: impl Into<String>) -> Self {
        Self::Fields(vec![FieldError { field: field.into(), error: error.into() }])
    }

    /// No such object.
    pub fn not_found(kind: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { kind, name: name.into() }
    }
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        Self::Store(Trouble::of(&source), source)
    }
}

impl From<NodeFailure> for Error {
    fn from(failure: NodeFailure) -> Self {
        match failure {
            NodeFailure::Refused(refusal) => Self::Node(refusal),
            NodeFailure::Slow { what, seconds } => Self::Slow { what, seconds },
            other => Self::NodeUnreachable(other),
        }
    }
}

fn list(fields: &[FieldError]) -> String {
    let each: Vec<String> = fields.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.error)).collect();
    each.join("; ")
}

fn colon(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}
