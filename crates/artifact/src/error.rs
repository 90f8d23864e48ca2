//! What can go wrong with images.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::rootfs::layers::Fault;

/// What operations on images return.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure. `Display` says its own part; the source is the cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {what}")]
    Io {
        /// What was being done, with the path it was done to.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The directory was written by a build with another layout.
    #[error(
        "{dir} has images of layout {found:?} and this build reads layout `{ours}`; \
         move it away and build the templates again"
    )]
    Layout {
        /// The directory.
        dir: String,
        /// What its `format` file says.
        found: String,
        /// What it should say.
        ours: &'static str,
    },
    /// No recipe has this name.
    #[error("there is no recipe for `{name}`; there are recipes for: {known}")]
    UnknownRecipe {
        /// The name that was asked for.
        name: String,
        /// Those there are, separated by commas.
        known: String,
    },
    /// A recipe is not what a recipe looks like.
    #[error("recipe {file} is malformed")]
    RecipeSyntax {
        /// The file.
        file: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A recipe says something that makes no sense.
    #[error("recipe {file}: {problem}")]
    Recipe {
        /// The file.
        file: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The mirror has other packages than the lock, and no others will do.
    #[error(
        "the mirror has other packages than {name} is locked to; without `--locked` it is built from those, and a new \
         lock is written by `cargo run --release -p artifact --example lock`:\n{differences}"
    )]
    NotLocked {
        /// The template.
        name: String,
        /// Each package that is another, a line each.
        differences: String,
    },
    /// Apt knows no place to get a suite from.
    #[error(
        "apt on this machine has no source of `{suite}` to take a mirror's address from; \
         add one to /etc/apt/sources.list.d and run `apt-get update`"
    )]
    NoMirror {
        /// The suite.
        suite: String,
    },
    /// The mirror's address holds a password, which would end up inside every sandbox.
    #[error(
        "apt's source of `{suite}` has a password in its address; images are built only from mirrors without"
    )]
    SecretMirror {
        /// The suite.
        suite: String,
    },
    /// A program we run is not there.
    #[error(
        "`{program}` is not installed; run `scripts/install-packages run` or `apt-get install {package}`"
    )]
    ProgramMissing {
        /// The program.
        program: String,
        /// The Debian package that has it.
        package: String,
    },
    /// A program we ran failed.
    #[error("`{program}` failed ({status}); its last words were:\n{last_words}")]
    ProgramFailed {
        /// The program.
        program: String,
        /// Its exit status, as the kernel said it.
        status: String,
        /// The end of its output.
        last_words: String,
    },
    /// A program we ran did not end in time, and was killed.
    #[error("`{program}` was not done after {bound:?} and was killed; its last words were:\n{last_words}")]
    ProgramTimeout {
        /// The program.
        program: String,
        /// How long it had.
        bound: Duration,
        /// The end of its output.
        last_words: String,
    },
    /// A layer of an image is malformed, hostile or over a limit.
    #[error("layer {layer} cannot be applied: {fault}")]
    Layer {
        /// Which, from 1, from the bottom up. 0 before the first.
        layer: usize,
        /// What is wrong with it.
        fault: Fault,
    },
    /// What the operator said of registries cannot be used.
    #[error("the settings for registries cannot be used: {problem}")]
    Registries {
        /// What is wrong with which.
        problem: String,
    },
    /// A task of ours died.
    #[error("the task that should {what} died")]
    Task {
        /// What it was doing.
        what: &'static str,
        /// How it died.
        source: tokio::task::JoinError,
    },
}

impl Error {
    /// An I/O failure, with what was being done: a verb, to follow "cannot", and the path.
    pub(crate) fn io(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{verb} {}", path.display());
        move |source| Self::Io { what, source }
    }
}
