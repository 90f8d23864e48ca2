//! Why a request failed, and what its caller can do about it.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use http::{Response, StatusCode};
use hyper::body::Incoming;
use wire::public::error::ErrorBody;

use super::answer;
use crate::output::{note, printable};

/// What is returned when it is ours, not the command's, that failed.
pub const OUR_FAILURE: u8 = 125;
/// What a shell returns for a program whose reader went away: 128 and the number of SIGPIPE.
const READER_GONE: u8 = 141;

/// A request that was not answered with success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody listens there.
    #[error("no server answers at {base}")]
    Unreachable {
        /// The URL that was tried.
        base: String,
        /// What the system said.
        #[source]
        source: BoxError,
    },
    /// The connection ended before the answer.
    #[error("the connection to {base} broke")]
    Broken {
        /// The server's URL.
        base: String,
        /// What was seen.
        #[source]
        source: BoxError,
    },
    /// The server said no.
    #[error("{message}")]
    Refused {
        /// How.
        status: StatusCode,
        /// For programs; empty if the answer was not the API's.
        code: String,
        /// For people; the fields that were wrong are in it.
        message: String,
    },
}

/// A server said nothing for so long, although it was to say something now and then.
#[derive(Debug, thiserror::Error)]
#[error("the server has said nothing for {0:?}")]
pub struct Silent(pub Duration);

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Failure {
    /// A request that got no answer.
    pub fn of_connection(base: &str, error: hyper_util::client::legacy::Error) -> Self {
        let base = base.to_owned();
        match error.is_connect() {
            true => Self::Unreachable { base, source: error.into() },
            false => Self::Broken { base, source: error.into() },
        }
    }

    /// What may help.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } => {
                Some("is `atoll serve` running? --url or ATOLL_URL say where it listens")
            }
            Self::Broken { .. } => {
                Some("was the server stopped meanwhile? what it had begun may have happened all the same")
            }
            Self::Refused { status, code, .. } => match *status {
                _ if let Some(hint) = hint_for(code) => Some(hint),
                StatusCode::UNAUTHORIZED => Some(
                    "set ATOLL_API_KEY, or --api-key-file to a file with a key; \
                     a server writes its first into api-key in its data directory",
                ),
                StatusCode::NOT_FOUND if code.is_empty() => {
                    Some("does that URL belong to an Atoll server, and is it as new as this program?")
                }
                StatusCode::TOO_MANY_REQUESTS => Some("ask less often, or have the team's limit raised"),
                StatusCode::SERVICE_UNAVAILABLE => Some("that may pass: try again in a few seconds"),
                _ => None,
            },
        }
    }
}

/// What may help with a refusal of this kind.
fn hint_for(code: &str) -> Option<&'static str> {
    Some(match code {
        "operator_only" | "team_only" => "`atoll whoami` shows what your key may",
        "not_found" | "sandbox_deleted" | "sandbox_deleting" => "`ls` shows what there is",
        "file_not_found" => {
            "paths without a slash in front begin at the sandbox's workdir, and programs are looked for in its PATH"
        }
        "no_such_route" => "does that URL belong to an Atoll server, and is it as new as this program?",
        "invalid_fields" => "`--help` says what each option takes",
        "already_exists" => "choose another name, or remove that one first",
        "team_limit" => "remove what is not needed any more; an operator can raise it with `atoll team set`",
        "sandbox_limit" => "`atoll sandbox urls` shows them, and `atoll sandbox url --revoke` takes one back",
        "team_in_use" => "remove its sandboxes first",
        "last_operator_key" => "make another with `atoll key create --scope operator` first",
        "template_failed" | "template_pulling" => "`atoll template get` shows where it stands",
        "invalid_image" => {
            "a reference looks like `python:3.12-slim` or `registry.example.com/org/app:tag`; \
             where images may come from is the operator's to say"
        }
        "registry_unauthorized" => "give --username and --password-file, or --credentials-file",
        "system_template" => "`atoll template create` makes one of your own",
        "disk_full" => "remove files in the sandbox, or make one with more disk",
        _ => return None,
    })
}

/// Whether the same request may do better in a while: nobody was there, or who was there had too much to do.
pub fn may_pass(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match cause.downcast_ref::<Failure>() {
        Some(Failure::Unreachable { .. } | Failure::Broken { .. }) => true,
        Some(Failure::Refused { status, .. }) => {
            status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
        }
        // An answer that broke off in its middle.
        None => cause.is::<Silent>() || cause.is::<hyper::Error>(),
    })
}

/// What a refusal says.
pub async fn refusal(response: Response<Incoming>) -> Failure {
    let status = response.status();
    refused(status, &answer::whole(response).await.unwrap_or_default())
}

/// A refusal with this body.
pub fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let Ok(body) = serde_json::from_slice::<ErrorBody>(body) else {
        return Failure::Refused {
            status,
            code: String::new(),
            message: format!("the server answered {status}"),
        };
    };
    let mut message = body.message;
    for field in body.errors {
        message.push_str(&format!("\n  {}: {}", field.field, field.error));
    }
    Failure::Refused { status, code: body.code, message }
}

/// Says on standard error what failed and what may help; the exit code is `code`, unless nobody reads on.
pub fn report(error: &anyhow::Error, code: u8) -> ExitCode {
    if reader_is_gone(error) {
        return ExitCode::from(READER_GONE);
    }
    note(&format!("atoll: {}", printable(&format!("{error:#}"))));
    if let Some(hint) = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()?.hint()) {
        note(&format!("  hint: {hint}"));
    }
    ExitCode::from(code)
}

/// Whether it was standard output that was closed: `| head` has seen enough.
fn reader_is_gone(error: &anyhow::Error) -> bool {
    let printed = error.downcast_ref::<io::Error>();
    printed.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_server_may_mend_by_itself_is_worth_another_try() {
        let refused = |status| anyhow::Error::from(refused(StatusCode::from_u16(status).unwrap(), b""));
        for status in [429, 500, 503] {
            assert!(may_pass(&refused(status)), "{status}");
        }
        for status in [400, 401, 403, 404, 409] {
            assert!(!may_pass(&refused(status)), "{status}");
        }
        assert!(may_pass(&anyhow::Error::from(Silent(Duration::from_secs(1))).context("while listening")));
        assert!(!may_pass(&anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe))));
    }

    #[test]
    fn only_our_own_output_counts_as_a_reader_that_left() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(reader_is_gone(&anyhow::Error::from(closed())));
        let elsewhere = Failure::Broken { base: "http://x".into(), source: closed().into() };
        assert!(!reader_is_gone(&elsewhere.into()));
    }
}
