//! Which shell a user gets who asks for a terminal and nothing else.

use std::path::Path;

use crate::process::plan::SHELL;
use crate::sandbox::users::Identity;

/// The shell that people expect, where there is one.
const BETTER_SHELL: &str = "/bin/bash";
/// "Shells" of users who are not meant to log in. Whoever asks for a terminal means to.
const NO_SHELLS: [&str; 2] = ["nologin", "false"];

/// The user's own, if it is there.
pub fn login_shell(identity: &Identity) -> &str {
    let own = Path::new(&identity.shell);
    let is_shell = own.file_name().is_some_and(|name| NO_SHELLS.iter().all(|no_shell| name != *no_shell));
    if is_shell && own.is_absolute() && own.exists() {
        &identity.shell
    } else if Path::new(BETTER_SHELL).exists() {
        BETTER_SHELL
    } else {
        SHELL
    }
}

/// The name by which a shell knows that it is a login shell (`login(1)`).
pub fn login_name(shell: &str) -> String {
    format!("-{}", shell.rsplit('/').next().unwrap_or(shell))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell_of(shell: &str) -> String {
        let identity = Identity {
            name: "user".into(),
            uid: 1,
            gid: 1,
            groups: Vec::new(),
            home: "/".into(),
            shell: shell.into(),
        };
        login_shell(&identity).to_owned()
    }

    #[test]
    fn a_user_gets_the_own_shell_or_the_best_there_is() {
        assert_eq!(shell_of("/bin/sh"), "/bin/sh");
        let best = if Path::new(BETTER_SHELL).exists() { BETTER_SHELL } else { SHELL };
        for none in ["/no/such/shell", "/usr/sbin/nologin", "/bin/false", "sh", ""] {
            assert_eq!(shell_of(none), best, "{none}");
        }
        assert_eq!(login_name("/bin/bash"), "-bash");
    }
}
