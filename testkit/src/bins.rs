//! The programs under test, as they were built beside the test.

use std::path::PathBuf;

/// The `atoll` binary: `ATOLL_BIN`, or the one in the directory of the running test's profile.
///
/// # Panics
/// When it has not been built.
pub fn atoll() -> PathBuf {
    if let Some(path) = std::env::var_os("ATOLL_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("tests lie in target/<profile>/deps");
    let atoll = profile.join("atoll");
    assert!(atoll.is_file(), "{} is not there; run `make build` first", atoll.display());
    atoll
}
