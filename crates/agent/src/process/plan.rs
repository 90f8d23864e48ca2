//! A process to start, worked out as far as it can be before there is a child.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wire::guest::{Command, Error, ErrorCode, Exec};
use wire::sandbox::limits::{COMMAND_BYTES_MAX, ENV_BYTES_MAX, PATH_BYTES_MAX};

use super::script;
use crate::failure;
use crate::pty::shell;
use crate::root::Root;
use crate::sandbox::Sandbox;
use crate::sandbox::users::{self, Identity};

/// Directories of `PATH` that are searched; those after are not.
const PATH_DIRECTORIES_MAX: usize = 64;
/// The environment of the sandbox and of the request together, in bytes.
const ENVIRONMENT_BYTES_MAX: usize = 2 * ENV_BYTES_MAX;
/// The shell of every image that has one.
pub const SHELL: &str = "/bin/sh";

/// Everything the child needs; it can neither allocate nor decide.
pub struct Plan {
    /// Paths to try in this order, as `execvp(3)` does.
    pub programs: Vec<CString>,
    /// The arguments, the program's name first.
    pub argv: Vec<CString>,
    /// `NAME=value`.
    pub envp: Vec<CString>,
    /// Where to start.
    pub cwd: Cwd,
    /// As whom.
    pub identity: Arc<Identity>,
    /// The script, if it is too long for an argument.
    pub script: Option<OwnedFd>,
    /// The program as the request named it.
    pub program_name: String,
}

/// Where a process starts.
pub enum Cwd {
    /// A path, which the user must have leave to enter.
    Path(CString),
    /// A directory below a confined root.
    Directory(OwnedFd, PathBuf),
}

impl Plan {
    /// Works a request out. Reads files of the sandbox, so it may wait.
    pub fn new(sandbox: &Sandbox, exec: Exec) -> Result<Self, Error> {
        let identity = identity(sandbox, exec.user.as_deref())?;
        Self::with_identity(sandbox, exec, identity)
    }

    /// The shell that the user logs in with, whatever the request says is to run.
    pub fn login(sandbox: &Sandbox, exec: Exec) -> Result<Self, Error> {
        let identity = identity(sandbox, exec.user.as_deref())?;
        let shell = shell::login_shell(&identity).to_owned();
        let name = c_string("the shell's name", shell::login_name(&shell))?;
        let exec = Exec { command: Command::Argv(vec![shell]), ..exec };
        Ok(Self { argv: vec![name], ..Self::with_identity(sandbox, exec, identity)? })
    }

    fn with_identity(sandbox: &Sandbox, exec: Exec, identity: Arc<Identity>) -> Result<Self, Error> {
        check_size(&exec.command)?;
        let env = sandbox.environment(&identity, exec.env);
        let cwd = sandbox.absolute(exec.cwd.as_deref().unwrap_or(""));
        let (argv, script) = match exec.command {
            Command::Argv(argv) => (argv, None),
            Command::Shell(text) => script::command_line(text)?,
        };
        let program_name = argv.first().cloned().unwrap_or_default();
        Ok(Self {
            programs: programs(&program_name, env.get("PATH").map_or("", String::as_str))?,
            argv: argv
                .into_iter()
                .map(|argument| c_string("an argument", argument))
                .collect::<Result<_, _>>()?,
            envp: environment(env)?,
            cwd: Cwd::new(&sandbox.root, cwd)?,
            identity,
            script,
            program_name,
        })
    }
}

impl Cwd {
    fn new(root: &Root, path: PathBuf) -> Result<Self, Error> {
        if root.is_machine() {
            return c_string("the working directory", path.into_os_string().into_encoded_bytes())
                .map(Self::Path);
        }
        let directory = root.open_dir(&path).map_err(|error| failure::of(path.display(), error))?;
        Ok(Self::Directory(directory, path))
    }

    /// The path, for messages.
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.to_string_lossy().into_owned(),
            Self::Directory(_, path) => path.display().to_string(),
        }
    }
}

fn identity(sandbox: &Sandbox, user: Option<&str>) -> Result<Arc<Identity>, Error> {
    match user {
        Some(user) if !user.is_empty() => Ok(Arc::new(users::resolve(&sandbox.root, user)?)),
        _ => Ok(sandbox.identity.clone()),
    }
}

fn check_size(command: &Command) -> Result<(), Error> {
    let bytes = match command {
        Command::Argv(argv) => argv.iter().map(|argument| argument.len() + 1).sum(),
        Command::Shell(script) => script.len(),
    };
    if bytes > COMMAND_BYTES_MAX {
        let message = format!("the command is {bytes} bytes long; {COMMAND_BYTES_MAX} are allowed");
        return Err(Error::new(ErrorCode::TooLarge, message));
    }
    Ok(())
}

/// Where the program may be. A name with a slash is a path already.
fn programs(name: &str, path: &str) -> Result<Vec<CString>, Error> {
    if name.is_empty() {
        return Err(failure::invalid("the command is empty"));
    }
    if name.len() > PATH_BYTES_MAX {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!("a program's name has at most {PATH_BYTES_MAX} bytes"),
        ));
    }
    if name.contains('/') {
        return Ok(vec![c_string("the program's name", name)?]);
    }
    // An empty directory means the working directory (`environ(7)`).
    let in_directory = |directory: &str| {
        c_string("PATH", Path::new(directory).join(name).into_os_string().into_encoded_bytes())
    };
    path.split(':').take(PATH_DIRECTORIES_MAX).map(in_directory).collect()
}

fn environment(env: BTreeMap<String, String>) -> Result<Vec<CString>, Error> {
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if bytes > ENVIRONMENT_BYTES_MAX {
        let message = format!("the environment is {bytes} bytes long; {ENVIRONMENT_BYTES_MAX} are allowed");
        return Err(Error::new(ErrorCode::TooLarge, message));
    }
    env.into_iter().map(|(name, value)| variable(&name, &value)).collect()
}

fn variable(name: &str, value: &str) -> Result<CString, Error> {
    if name.is_empty() || name.contains('=') {
        return Err(failure::invalid(format!("`{name}` cannot be the name of an environment variable")));
    }
    c_string(&format!("the environment variable {name}"), format!("{name}={value}"))
}

/// What the kernel takes for text ends at the first NUL.
fn c_string(what: &str, text: impl Into<Vec<u8>>) -> Result<CString, Error> {
    CString::new(text).map_err(|_| failure::invalid(format!("{what} contains a NUL character")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, path: &str) -> Vec<String> {
        programs(name, path).unwrap().into_iter().map(|path| path.into_string().unwrap()).collect()
    }

    #[test]
    fn a_program_is_looked_for_as_execvp_does() {
        assert_eq!(found("ls", "/usr/bin:/bin"), ["/usr/bin/ls", "/bin/ls"]);
        assert_eq!(found("ls", "/bin:"), ["/bin/ls", "ls"], "an empty directory is the working directory");
        assert_eq!(found("./ls", "/bin"), ["./ls"]);
        assert_eq!(found("x", &":/d".repeat(1000)).len(), PATH_DIRECTORIES_MAX);
    }

    #[test]
    fn what_the_kernel_cannot_be_told_is_refused() {
        let code = |result: Result<Vec<CString>, Error>| result.unwrap_err().code;
        assert_eq!(code(programs("", "/bin")), ErrorCode::Invalid);
        assert_eq!(code(programs("a\0b", "/bin")), ErrorCode::Invalid);
        for (name, value) in [("", "x"), ("A=B", "x"), ("A", "x\0")] {
            let env = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert_eq!(code(environment(env)), ErrorCode::Invalid, "{name}={value}");
        }
        let long = BTreeMap::from([("A".to_owned(), "x".repeat(ENVIRONMENT_BYTES_MAX))]);
        assert_eq!(code(environment(long)), ErrorCode::TooLarge);
    }
}
