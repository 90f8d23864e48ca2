//! Answers that are not a success. Each status is one answer, shared by all operations that may give it.

use serde_json::{Map, Value, json};
use wire::public::error::{ErrorBody, FieldError};

use super::schemas::Schemas;

/// One status of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Invalid,
    Unauthorized,
    Forbidden,
    NotFound,
    Stalled,
    Conflict,
    TooLarge,
    Unprocessable,
    RateLimited,
    Internal,
    NotImplemented,
    BadGateway,
    Unavailable,
    TimedOut,
    DiskFull,
}

use Failure::*;

/// How anything may fail that is asked of what is inside a sandbox.
pub const INSIDE: &[Failure] = &[
    Invalid,
    Forbidden,
    NotFound,
    Conflict,
    TooLarge,
    Unprocessable,
    NotImplemented,
    BadGateway,
    Unavailable,
    TimedOut,
    DiskFull,
];

/// All of them, by status.
const ALL: [Failure; 15] = [
    Invalid,
    Unauthorized,
    Forbidden,
    NotFound,
    Stalled,
    Conflict,
    TooLarge,
    Unprocessable,
    RateLimited,
    Internal,
    NotImplemented,
    BadGateway,
    Unavailable,
    TimedOut,
    DiskFull,
];

impl Failure {
    pub fn status(self) -> u16 {
        self.row().0
    }

    /// Leads to the answer.
    pub fn reference(self) -> Value {
        json!({ "$ref": format!("#/components/responses/{self:?}") })
    }

    /// Status, what it means, the message of an example, and the codes it comes with, the example's first.
    fn row(self) -> (u16, &'static str, &'static str, &'static [&'static str]) {
        match self {
            Invalid => (
                400,
                "The request is not valid; `errors` names every field that is wrong.",
                "the request is not valid: vcpu: must be a whole number from 1 to 8, not 9",
                &[
                    "invalid_fields",
                    "invalid_body",
                    "is_a_directory",
                    "not_a_directory",
                    "invalid",
                    "invalid_image",
                    "registry_unauthorized",
                ],
            ),
            Unauthorized => (
                401,
                "The key is missing, not known, expired or revoked.",
                "the API key is missing or not known; send it as `authorization: Bearer <key>` or `leap0-authorization: <key>`",
                &["unauthorized"],
            ),
            Forbidden => (
                403,
                "The key has not the scope that this needs, or the sandbox's user may not do this.",
                "this needs an operator's key, and the key given is a team's",
                &["operator_only", "team_only", "permission_denied"],
            ),
            NotFound => (
                404,
                "There is no such object, or it is another team's; or there is no such file.",
                "there is no sandbox \"sbx-aaaaaaaaaaaaaaaaaaaa\"",
                &["not_found", "sandbox_deleted", "file_not_found"],
            ),
            Stalled => (
                408,
                "The body stopped arriving.",
                "the request's body stopped arriving; send it again",
                &["body_stalled"],
            ),
            Conflict => (
                409,
                "What is there does not allow it: it exists already, is in another state, or there are too many; `team_limit` names the limit of the team and what it has.",
                "sandbox sbx-k7m2p9qsx4hd3vwtn8bz is being deleted (deleted); create a new one",
                &[
                    "sandbox_deleting",
                    "sandbox_paused",
                    "already_exists",
                    "team_limit",
                    "sandbox_limit",
                    "team_in_use",
                    "system_template",
                    "template_failed",
                    "credentials_sealed",
                    "last_operator_key",
                    "not_empty",
                    "too_many",
                    "wrong_state",
                    "snapshot_unusable",
                    "stalled",
                    "process_limit",
                    "cancelled",
                    "stalled",
                ],
            ),
            TooLarge => (
                413,
                "The body, or a file, is larger than its limit.",
                "the JSON body is larger than 16777216 bytes, which is the limit; send it in smaller parts",
                &["too_large"],
            ),
            Unprocessable => (
                422,
                "The request is well formed and cannot be carried out.",
                "this Idempotency-Key was used with a different request; use a new key",
                &["idempotency_key_reused", "io_error"],
            ),
            RateLimited => (
                429,
                "The team asks too often; `Retry-After` says when to try again.",
                "the team asks more often than 1000 times a second; wait 1 s and ask again",
                &["rate_limited", "team_limit"],
            ),
            Internal => (
                500,
                "A fault of the server's own; its log has the cause.",
                "the store failed",
                &["internal", "create_failed", "pull_failed"],
            ),
            NotImplemented => (
                501,
                "The agent in the sandbox cannot do this.",
                "this agent cannot do that",
                &["unsupported"],
            ),
            BadGateway => (
                502,
                "The sandbox broke before the operation ended, and what became of it is not known; or a template's registry cannot be reached.",
                "the connection to the sandbox broke before the operation ended; what became of it is not known",
                &["connection_broken", "engine_failed", "guest_unreachable", "registry_unreachable"],
            ),
            Unavailable => (
                503,
                "There is no room, or the sandbox, its template or its node is not ready; `Retry-After` says when to try again.",
                "no node has room for 1 vCPU and 1024 MiB; delete sandboxes or try again later",
                &[
                    "no_capacity",
                    "sandbox_not_ready",
                    "no_image",
                    "no_node",
                    "too_many_sockets",
                    "node_unreachable",
                    "create_timed_out",
                    "store_unavailable",
                    "template_pulling",
                    "template_failed",
                    "node_disk_full",
                ],
            ),
            TimedOut => {
                (504, "Something took longer than its bound.", "the node took longer than 30 s", &["timeout"])
            }
            DiskFull => (
                507,
                "A disk is full: `disk_full` is the sandbox's own; `storage_full` is the server's, where `Retry-After` says when to try again.",
                "no space left on device",
                &["disk_full", "storage_full"],
            ),
        }
    }

    fn answer(self, schemas: &mut Schemas) -> Value {
        let (_, text, message, codes) = self.row();
        let errors = match self {
            Invalid => vec![FieldError {
                field: "vcpu".into(),
                error: "must be a whole number from 1 to 8, not 9".into(),
            }],
            _ => Vec::new(),
        };
        let example = ErrorBody {
            message: message.into(),
            code: codes.first().copied().unwrap_or_default().into(),
            errors,
        };
        let mut answer = json!({
            "description": text,
            "x-codes": codes,
            "content": { "application/json": { "schema": schemas.answered::<ErrorBody>(), "example": example } },
        });
        if matches!(self, Unavailable | RateLimited | DiskFull) {
            answer["headers"]["Retry-After"] =
                json!({ "description": "Seconds to wait.", "schema": { "type": "integer" } });
        }
        answer
    }
}

/// All of them, for `#/components/responses`.
pub fn answers(schemas: &mut Schemas) -> Value {
    Value::Object(Map::from_iter(ALL.map(|failure| (format!("{failure:?}"), failure.answer(schemas)))))
}
