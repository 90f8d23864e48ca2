//! How a process ended, in the words of the API. Nothing is made up where the kernel said nothing.

use wire::guest::{Done, ExecCause, ExecEnd};

use crate::error::{Error, Result};

/// The exit code of a command whose time was up, as `timeout(1)` has it.
pub const TIMED_OUT_EXIT_CODE: i32 = 124;

/// The exit code of what a sandbox was to start with, and could not: a shell's.
const NOT_STARTED_EXIT_CODE: i32 = 127;

/// The end that the agent's last word tells of.
pub fn exec_end(done: Done) -> Result<ExecEnd> {
    match done {
        Done::Exec(end) => Ok(end),
        _ => Err(another_answer()),
    }
}

/// The agent's answer belongs to another question.
pub fn another_answer() -> Error {
    Error::Broken("the agent answered another question".into())
}

/// What the kernel said, as a shell would put it.
pub fn exit_code(end: &ExecEnd) -> Result<i32> {
    match (end.cause, end.exit_code, end.signal) {
        (ExecCause::Timeout, _, _) => Ok(TIMED_OUT_EXIT_CODE),
        (ExecCause::NotStarted, _, _) => Ok(NOT_STARTED_EXIT_CODE),
        (_, Some(code), _) => Ok(code),
        (_, None, Some(signal)) => Ok(128_i32.saturating_add(signal)),
        (_, None, None) => Err(Error::Broken("the agent did not say how the command ended".into())),
    }
}

/// One word for it.
pub fn how(end: &ExecEnd) -> &'static str {
    match end.cause {
        ExecCause::Timeout => "timeout",
        ExecCause::OutOfMemory => "out_of_memory",
        ExecCause::NotStarted => "not_started",
        ExecCause::Itself | ExecCause::Cancelled if end.signal.is_some() => "signal",
        ExecCause::Itself | ExecCause::Cancelled => "exited",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(exit_code: Option<i32>, signal: Option<i32>, cause: ExecCause) -> ExecEnd {
        ExecEnd { exit_code, signal, cause }
    }

    #[test]
    fn exit_codes_are_what_a_shell_would_say_and_never_invented() {
        assert_eq!(exit_code(&end(Some(3), None, ExecCause::Itself)).unwrap(), 3);
        assert_eq!(exit_code(&end(None, Some(9), ExecCause::Itself)).unwrap(), 137);
        assert_eq!(exit_code(&end(None, Some(9), ExecCause::Timeout)).unwrap(), TIMED_OUT_EXIT_CODE);
        assert_eq!(exit_code(&end(None, Some(9), ExecCause::OutOfMemory)).unwrap(), 137);
        assert_eq!(exit_code(&end(None, None, ExecCause::NotStarted)).unwrap(), NOT_STARTED_EXIT_CODE);
        assert!(exit_code(&end(None, None, ExecCause::Itself)).is_err());
    }

    #[test]
    fn a_kill_of_somebody_is_a_signal() {
        assert_eq!(how(&end(None, Some(9), ExecCause::Cancelled)), "signal");
        assert_eq!(how(&end(Some(0), None, ExecCause::Itself)), "exited");
        assert_eq!(how(&end(None, Some(9), ExecCause::OutOfMemory)), "out_of_memory");
    }
}
