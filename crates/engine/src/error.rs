//! What can go wrong with a machine.

use std::io;
use std::time::Duration;

use wire::id::SandboxId;

/// A failure of an engine. `Display` says its own part; the source is the cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step of a bring-up failed; everything before it was undone.
    #[error("bring-up failed at step `{step}`")]
    Step {
        /// The step.
        step: &'static str,
        /// Why.
        source: Box<Error>,
    },
    /// A system call or file operation failed.
    #[error("{what}")]
    Io {
        /// What was being done, with the path or name it was done to.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program we ran failed.
    #[error("`{program}` failed: {detail}")]
    Program {
        /// The program and its subcommand.
        program: String,
        /// Its status and the end of what it said.
        detail: String,
    },
    /// Something did not happen in time.
    #[error("{what} took longer than {bound:?}")]
    Timeout {
        /// What was awaited.
        what: &'static str,
        /// How long.
        bound: Duration,
    },
    /// There is a machine of this id, or what is left of one.
    #[error("{id} is there already")]
    Exists {
        /// Which.
        id: SandboxId,
    },
    /// The machine ended while something was asked of it.
    #[error("the machine has ended: {evidence}")]
    Ended {
        /// As in [`crate::Exit`].
        evidence: String,
    },
    /// There is nothing to go on from; why, as who was to bring it says.
    #[error("{0}")]
    NoCheckpoint(String),
    /// This host lacks what the engine needs.
    #[error("{what}; {remedy}")]
    Unfit {
        /// What is missing.
        what: String,
        /// The command that mends it.
        remedy: String,
    },
    /// A test asked for this failure.
    #[error("a test asked step `{0}` to fail")]
    Injected(&'static str),
}

impl Error {
    /// An I/O failure, with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
