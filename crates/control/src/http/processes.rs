//! `/v1/sandbox/{id}/process`.

use std::pin::Pin;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use serde::Serialize;
use wire::guest::{Command, Exec};
use wire::id::SandboxId;
use wire::public::process::{Executed, ProcessEvent};
use wire::sandbox::{defaults, limits};

use super::App;
use super::body::json_fields;
use super::extract::InSandbox;
use super::fields::Fields;
use crate::error::{Error, Result};
use crate::processes::{self, Order, Running};
use crate::store::Caller;

/// `POST …/execute`: all that a command says and how it ended.
///
/// A command that takes long is answered with `200` and spaces, which JSON allows in front; if
/// its end is then not heard of, the body is cut off.
pub async fn execute(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Response> {
    let order = order(json_fields(&app, request).await?)?;
    let keep_alive = app.limits.keep_alive;
    let mut run: Run = Box::pin(async move { processes::execute(&app, &caller.team, &id, &order).await });
    match tokio::time::timeout(keep_alive, &mut run).await {
        Ok(executed) => Ok(Json(executed?).into_response()),
        Err(_) => Ok(patient(run, keep_alive)),
    }
}

type Run = Pin<Box<dyn Future<Output = Result<Executed>> + Send>>;

/// Spaces until it is known how the command ended.
fn patient(run: Run, keep_alive: Duration) -> Response {
    let start = (Some(run), Some(Bytes::from_static(b" ")));
    let body = stream::try_unfold(start, move |(run, at_once)| async move {
        let Some(mut run) = run else { return Ok(None) };
        if let Some(space) = at_once {
            return Ok(Some((space, (Some(run), None))));
        }
        match tokio::time::timeout(keep_alive, &mut run).await {
            Err(_) => Ok(Some((Bytes::from_static(b" "), (Some(run), None)))),
            Ok(Ok(executed)) => Ok(Some((json(&executed)?.into(), (None, None)))),
            Ok(Err(error)) => {
                tracing::warn!(error = super::chain(&error), "an answer that had begun is cut off");
                Err(error)
            }
        }
    });
    streamed("application/json", Body::from_stream(body))
}

/// `POST …/stream`: a command's events as they happen. The command dies with the connection.
pub async fn stream(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Response> {
    let order = order(json_fields(&app, request).await?)?;
    let running = processes::start(&app, &caller.team, &id, order).await?;
    let keep_alive = app.limits.keep_alive;
    let events = stream::try_unfold(Next::of(app, id, running), move |mut next| async move {
        match tokio::time::timeout(keep_alive, &mut next.event).await {
            Err(_) => Ok(Some((Bytes::from_static(b": ping\n\n"), next))),
            Ok((_, None)) => Ok::<_, Error>(None),
            Ok((running, Some(event))) => {
                let piece = format!("data: {}\n\n", line_safe(&json(&event)?));
                Ok(Some((piece.into(), Next::of(next.app, next.id, running))))
            }
        }
    });
    let mut response = streamed("text/event-stream", Body::from_stream(events));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// The wait for an event, which goes on over any number of pings.
struct Next {
    app: App,
    id: SandboxId,
    event: Pin<Box<dyn Future<Output = (Running, Option<ProcessEvent>)> + Send>>,
}

impl Next {
    fn of(app: App, id: SandboxId, mut running: Running) -> Self {
        let (fleet, sandbox) = (app.clone(), id.clone());
        let event = Box::pin(async move {
            let event = running.next(&fleet, &sandbox).await;
            (running, event)
        });
        Self { app, id, event }
    }
}

/// Some clients end lines at these three too, and would lose the event.
fn line_safe(json: &str) -> String {
    json.replace('\u{85}', "\\u0085").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal("cannot write JSON", error))
}

fn streamed(kind: &'static str, body: Body) -> Response {
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

fn order(mut fields: Fields) -> Result<Order> {
    let command = command(&mut fields);
    let exec = Exec {
        cwd: fields.path("cwd"),
        env: fields.environment("envs").unwrap_or_default(),
        user: None,
        timeout_ms: None,
        stdin: false,
        id: None,
        command: command.unwrap_or(Command::Argv(Vec::new())),
    };
    let timeout_seconds = fields
        .integer("timeout", limits::COMMAND_TIMEOUT_SECONDS)
        .unwrap_or(defaults::COMMAND_TIMEOUT_SECONDS);
    fields.finish()?;
    Ok(Order { exec, timeout_seconds })
}

/// A script or a program; wrong if it is neither or both.
fn command(fields: &mut Fields) -> Option<Command> {
    let (given, also_given) = (fields.has("command"), fields.has("argv"));
    if given == also_given {
        fields.wrong("command", "exactly one of `command` and `argv` must be given");
        return None;
    }
    let command = if given {
        fields.string("command").map(Command::Shell)
    } else {
        fields.strings("argv").map(Command::Argv)
    };
    let (name, parts) = match command.as_ref()? {
        Command::Shell(script) => ("command", std::slice::from_ref(script)),
        Command::Argv(argv) => ("argv", argv.as_slice()),
    };
    let bytes: usize = parts.iter().map(String::len).sum();
    if parts.first().is_none_or(String::is_empty) {
        fields.wrong(name, "must not be empty");
    } else if parts.iter().any(|part| part.contains('\0')) {
        fields.wrong(name, "must not contain NUL");
    } else if bytes > limits::COMMAND_BYTES_MAX {
        fields.wrong(name, format!("must be at most {} bytes", limits::COMMAND_BYTES_MAX));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: serde_json::Value, wrong: &[&str]) {
        let found = match order(Fields::parse(body.to_string().as_bytes()).unwrap()) {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            _ => Vec::new(),
        };
        assert_eq!(found, wrong, "{body}");
    }

    #[test]
    fn a_command_is_a_script_or_a_program() {
        check(json!({"command": "true"}), &[]);
        check(json!({"argv": ["true"], "command": null}), &[]);
        check(json!({"command": "true", "cwd": "/tmp", "envs": {"A": "b"}, "timeout": 1800}), &[]);
        check(json!({}), &["command"]);
        check(json!({"command": "true", "argv": ["true"]}), &["command"]);
        check(json!({"command": ""}), &["command"]);
        check(json!({"argv": []}), &["argv"]);
        check(json!({"argv": "true"}), &["argv"]);
        check(json!({"argv": ["a\u{0}b"]}), &["argv"]);
        check(
            json!({"command": 1, "cwd": 2, "envs": 3, "timeout": 0}),
            &["command", "cwd", "envs", "timeout"],
        );
    }

    #[test]
    fn a_script_of_ten_megabytes_is_accepted_and_a_longer_one_is_not() {
        check(json!({"command": "x".repeat(limits::COMMAND_BYTES_MAX)}), &[]);
        check(json!({"command": "x".repeat(limits::COMMAND_BYTES_MAX + 1)}), &["command"]);
    }

    #[test]
    fn line_ends_that_only_some_know_are_escaped() {
        let text = "a\u{85}b\u{2028}c\u{2029}d\ne";
        let safe = line_safe(&serde_json::to_string(text).unwrap());
        assert!(!safe.contains(['\u{85}', '\u{2028}', '\u{2029}', '\n']));
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
    }
}
