//! A Python with pinned packages, for clients that are tested as their users have them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest that all of the clients run on.
const VERSION_MIN: (u32, u32) = (3, 12);

/// Names of Python on `PATH`, the likeliest first.
const NAMES: [&str; 5] = ["python3", "python3.12", "python3.13", "python3.14", "python"];

/// Says whether it is new enough, and able to make environments.
const PROBE: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))";

/// What to do when there is none.
const NO_PYTHON: &str = "no Python 3.12 or newer was found on PATH, among pyenv's versions, or by uv.
Install one of them, for example: `pyenv install 3.12`, or uv, which brings its own; then run this test again";

/// Makes an environment in which the packages listed in `requirements` are installed: below the target directory,
/// named after the list's directory, once for each change of the list, by one process at a time.
///
/// # Panics
/// When there is no Python that is new enough, or a package cannot be installed; with what to do about it.
pub fn environment(requirements: &Path) -> PathBuf {
    let wanted = fs::read_to_string(requirements).expect("the list of packages is there");
    let parent = target_dir().join("python");
    fs::create_dir_all(&parent).expect("a directory below target/");
    let lock = File::create(parent.join("lock")).expect("a file below target/");
    lock.lock().expect("the other process ends");
    let name = requirements.parent().and_then(Path::file_name).expect("a list has a place");
    let (environment, installed) = (parent.join(name), parent.join(name).join("installed.txt"));
    if fs::read_to_string(&installed).ok().as_ref() != Some(&wanted) {
        let _ = fs::remove_dir_all(&environment);
        make(&environment);
        install(&environment, requirements);
        fs::write(&installed, &wanted).expect("a file below target/");
    }
    environment
}

/// A program of an environment.
pub fn program(environment: &Path, name: &str) -> Command {
    Command::new(environment.join("bin").join(name))
}

fn target_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.ancestors().nth(3).expect("tests lie in target/<profile>/deps").to_owned()
}

fn make(environment: &Path) {
    if let Some(python) = on_path().into_iter().chain(of_pyenv()).find(is_fit) {
        return run(Command::new(python).args(["-m", "venv"]).arg(environment), NO_PYTHON);
    }
    let (major, minor) = VERSION_MIN;
    let mut uv = Command::new("uv");
    uv.args(["venv", "--quiet", "--seed", "--python"]).arg(format!(">={major}.{minor}")).arg(environment);
    run(&mut uv, NO_PYTHON);
}

fn on_path() -> Vec<OsString> {
    NAMES.map(OsString::from).into()
}

/// What pyenv has installed, whichever of them is switched on.
fn of_pyenv() -> Vec<OsString> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(std::env::home_dir()?.join(".pyenv")));
    let versions = root.and_then(|root| fs::read_dir(root.join("versions")).ok());
    let mut found: Vec<_> = versions.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found.into_iter().map(|version| version.join("bin/python3").into()).collect()
}

fn is_fit(python: &OsString) -> bool {
    let mut probe = Command::new(python);
    let status = probe.args(["-c", PROBE]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn install(environment: &Path, requirements: &Path) {
    let why = "the packages could not be installed; the lines above say why. They come from where pip is set up to \
               take them from";
    let mut pip = program(environment, "pip");
    // The list is whole, so nothing is looked for beyond it; `check` says so if it is not.
    pip.args(["--disable-pip-version-check", "install", "--quiet", "--no-deps", "--requirement"]);
    run(pip.arg(requirements), why);
    run(program(environment, "pip").args(["--disable-pip-version-check", "check"]), why);
}

fn run(command: &mut Command, why: &str) {
    let status = command.status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{command:?}: {status:?}\n{why}");
}
