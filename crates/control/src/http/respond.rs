//! Where errors become answers. No other file knows a status code of a failure.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use wire::guest::ErrorCode as GuestCode;
use wire::node::{NodeErrorCode, PullFailure, PullFailureCode};
use wire::public::error::{ErrorBody, FieldError};

use crate::error::Error;
use crate::store::Trouble;
use crate::templates::record::may_pass;

/// When to come back after a refusal that passes, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// How an error is told.
struct Told {
    status: StatusCode,
    code: &'static str,
    retry: bool,
}

fn told(status: StatusCode, code: &'static str) -> Told {
    Told { status, code, retry: false }
}

fn passing(status: StatusCode, code: &'static str) -> Told {
    Told { status, code, retry: true }
}

fn tell(error: &Error) -> Told {
    match error {
        Error::Fields(_) => told(StatusCode::BAD_REQUEST, "invalid_fields"),
        Error::Body(_) => told(StatusCode::BAD_REQUEST, "invalid_body"),
        Error::BodyStalled => told(StatusCode::REQUEST_TIMEOUT, "body_stalled"),
        Error::TooLarge { .. } => told(StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        Error::Unauthorized => told(StatusCode::UNAUTHORIZED, "unauthorized"),
        Error::TeamOnly => told(StatusCode::FORBIDDEN, "team_only"),
        Error::OperatorOnly => told(StatusCode::FORBIDDEN, "operator_only"),
        Error::NoSuchRoute => told(StatusCode::NOT_FOUND, "no_such_route"),
        Error::MethodNotAllowed => told(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        Error::NotFound { .. } => told(StatusCode::NOT_FOUND, "not_found"),
        Error::AlreadyExists { .. } => told(StatusCode::CONFLICT, "already_exists"),
        Error::TeamLimit { .. } => told(StatusCode::CONFLICT, "team_limit"),
        Error::SandboxLimit { .. } => told(StatusCode::CONFLICT, "sandbox_limit"),
        Error::NoSuchUrl => told(StatusCode::NOT_FOUND, "not_found"),
        Error::RateLimited { .. } => passing(StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
        Error::LastOperatorKey => told(StatusCode::CONFLICT, "last_operator_key"),
        Error::TeamInUse { .. } => told(StatusCode::CONFLICT, "team_in_use"),
        Error::StaysPaused(_) => passing(StatusCode::TOO_MANY_REQUESTS, "team_limit"),
        Error::PausedMeanwhile { .. } => told(StatusCode::CONFLICT, "sandbox_paused"),
        Error::SandboxDeleting { .. } => told(StatusCode::CONFLICT, "sandbox_deleting"),
        Error::SandboxDeleted { .. } => told(StatusCode::NOT_FOUND, "sandbox_deleted"),
        Error::StillMoving { .. } => passing(StatusCode::SERVICE_UNAVAILABLE, "sandbox_not_ready"),
        Error::CreateFailed { failure, .. } => tell_create_failure(*failure),
        Error::NoCapacity { .. } => passing(StatusCode::SERVICE_UNAVAILABLE, "no_capacity"),
        Error::NoImage(_) => told(StatusCode::SERVICE_UNAVAILABLE, "no_image"),
        Error::SystemTemplate(_) => told(StatusCode::CONFLICT, "system_template"),
        Error::Pull(failure) => tell_pull_failure(failure.code),
        Error::TemplateFailed { failure, .. } if may_pass(failure.code) => {
            passing(StatusCode::SERVICE_UNAVAILABLE, "template_failed")
        }
        Error::TemplateFailed { .. } => told(StatusCode::CONFLICT, "template_failed"),
        Error::TemplatePulling { .. } => passing(StatusCode::SERVICE_UNAVAILABLE, "template_pulling"),
        Error::SealedCredentials { .. } => told(StatusCode::CONFLICT, "credentials_sealed"),
        Error::TooManySockets => passing(StatusCode::SERVICE_UNAVAILABLE, "too_many_sockets"),
        Error::NoNode => passing(StatusCode::SERVICE_UNAVAILABLE, "no_node"),
        Error::IdempotencyKeyReused => told(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
        Error::Guest(refusal) => tell_guest_refusal(refusal.code),
        Error::Node(refusal) => tell_node_refusal(refusal.code),
        Error::NodeUnreachable(_) => passing(StatusCode::SERVICE_UNAVAILABLE, "node_unreachable"),
        Error::Broken(_) => told(StatusCode::BAD_GATEWAY, "connection_broken"),
        Error::Slow { .. } => told(StatusCode::GATEWAY_TIMEOUT, "timeout"),
        Error::StorageFull { .. } => passing(StatusCode::INSUFFICIENT_STORAGE, "storage_full"),
        Error::DatabaseMoved { .. } | Error::StoreSlow { .. } => unavailable(),
        Error::Store(trouble, _) => tell_trouble(*trouble),
        Error::Corrupt { .. } | Error::Start(..) | Error::Internal { .. } => {
            told(StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
    }
}

fn unavailable() -> Told {
    passing(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
}

fn tell_trouble(trouble: Option<Trouble>) -> Told {
    match trouble {
        Some(Trouble::Full) => passing(StatusCode::INSUFFICIENT_STORAGE, "storage_full"),
        Some(Trouble::Busy | Trouble::Unwritable) => unavailable(),
        Some(Trouble::Damaged) | None => told(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

fn tell_create_failure(failure: Option<NodeErrorCode>) -> Told {
    match failure {
        Some(NodeErrorCode::NoCapacity) => passing(StatusCode::SERVICE_UNAVAILABLE, "no_capacity"),
        Some(NodeErrorCode::StorageFull) => passing(StatusCode::INSUFFICIENT_STORAGE, "storage_full"),
        Some(NodeErrorCode::Timeout) => passing(StatusCode::SERVICE_UNAVAILABLE, "create_timed_out"),
        Some(NodeErrorCode::Unusable) => told(StatusCode::CONFLICT, "snapshot_unusable"),
        _ => told(StatusCode::INTERNAL_SERVER_ERROR, "create_failed"),
    }
}

/// What is wrong with the source is the caller's to mend.
fn tell_pull_failure(code: PullFailureCode) -> Told {
    match code {
        PullFailureCode::Refused | PullFailureCode::NotFound | PullFailureCode::InvalidImage => {
            told(StatusCode::BAD_REQUEST, "invalid_image")
        }
        PullFailureCode::Unauthorized => told(StatusCode::BAD_REQUEST, "registry_unauthorized"),
        PullFailureCode::Unreachable => told(StatusCode::BAD_GATEWAY, "registry_unreachable"),
        PullFailureCode::DiskFull => passing(StatusCode::SERVICE_UNAVAILABLE, "node_disk_full"),
        PullFailureCode::Internal => told(StatusCode::INTERNAL_SERVER_ERROR, "pull_failed"),
    }
}

/// The field that is to be changed for a pull to go well.
fn field_of(code: PullFailureCode) -> Option<&'static str> {
    match code {
        PullFailureCode::Refused | PullFailureCode::NotFound | PullFailureCode::InvalidImage => Some("uri"),
        PullFailureCode::Unauthorized => Some("credentials"),
        PullFailureCode::Unreachable | PullFailureCode::DiskFull | PullFailureCode::Internal => None,
    }
}

/// What the inside refused is the caller's business, not a fault of the server.
fn tell_guest_refusal(code: GuestCode) -> Told {
    match code {
        GuestCode::NotFound => told(StatusCode::NOT_FOUND, "file_not_found"),
        GuestCode::PermissionDenied => told(StatusCode::FORBIDDEN, "permission_denied"),
        GuestCode::IsADirectory => told(StatusCode::BAD_REQUEST, "is_a_directory"),
        GuestCode::NotADirectory => told(StatusCode::BAD_REQUEST, "not_a_directory"),
        GuestCode::AlreadyExists => told(StatusCode::CONFLICT, "already_exists"),
        GuestCode::NotEmpty => told(StatusCode::CONFLICT, "not_empty"),
        GuestCode::TooMany => told(StatusCode::CONFLICT, "too_many"),
        GuestCode::WrongState => told(StatusCode::CONFLICT, "wrong_state"),
        GuestCode::DiskFull => told(StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
        GuestCode::ProcessLimit => told(StatusCode::CONFLICT, "process_limit"),
        GuestCode::TooLarge => told(StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        GuestCode::Invalid => told(StatusCode::BAD_REQUEST, "invalid"),
        GuestCode::Unsupported => told(StatusCode::NOT_IMPLEMENTED, "unsupported"),
        GuestCode::Cancelled => told(StatusCode::CONFLICT, "cancelled"),
        GuestCode::Stalled => told(StatusCode::CONFLICT, "stalled"),
        GuestCode::Io => told(StatusCode::UNPROCESSABLE_ENTITY, "io_error"),
    }
}

fn tell_node_refusal(code: NodeErrorCode) -> Told {
    match code {
        NodeErrorCode::NotFound => told(StatusCode::NOT_FOUND, "not_found"),
        NodeErrorCode::WrongState => told(StatusCode::CONFLICT, "wrong_state"),
        NodeErrorCode::Unusable => told(StatusCode::CONFLICT, "snapshot_unusable"),
        NodeErrorCode::NoCapacity => passing(StatusCode::SERVICE_UNAVAILABLE, "no_capacity"),
        NodeErrorCode::Asleep => passing(StatusCode::SERVICE_UNAVAILABLE, "sandbox_not_ready"),
        NodeErrorCode::StorageFull => passing(StatusCode::INSUFFICIENT_STORAGE, "storage_full"),
        NodeErrorCode::Invalid => told(StatusCode::BAD_REQUEST, "invalid"),
        NodeErrorCode::EngineFailed => told(StatusCode::BAD_GATEWAY, "engine_failed"),
        NodeErrorCode::GuestUnreachable => told(StatusCode::BAD_GATEWAY, "guest_unreachable"),
        NodeErrorCode::Timeout => told(StatusCode::GATEWAY_TIMEOUT, "timeout"),
        NodeErrorCode::Stale | NodeErrorCode::Internal => told(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// The body an error is told with.
pub fn error_body(error: &Error) -> ErrorBody {
    let errors = match error {
        Error::Fields(fields) => fields.clone(),
        Error::Pull(PullFailure { code, message }) => {
            let wrong = |field: &str| FieldError { field: field.to_owned(), error: message.clone() };
            field_of(*code).map(wrong).into_iter().collect()
        }
        _ => Vec::new(),
    };
    ErrorBody { message: message(error), code: tell(error).code.to_owned(), errors }
}

/// Clients look for these words when they read a directory.
fn message(error: &Error) -> String {
    let message = error.to_string();
    match error {
        Error::Guest(refusal)
            if refusal.code == GuestCode::IsADirectory
                && !message.to_lowercase().contains("is a directory") =>
        {
            format!("{message}: is a directory")
        }
        _ => message,
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let Told { status, retry, .. } = tell(&self);
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), error = wire::causes::chain(&self), "a request failed");
        }
        let mut response = (status, Json(error_body(&self))).into_response();
        let headers = response.headers_mut();
        if retry {
            let seconds = match self {
                Error::RateLimited { seconds, .. } => seconds,
                _ => RETRY_AFTER_SECONDS,
            };
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
