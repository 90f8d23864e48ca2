//! A command as clients write it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use wire::guest::process::{ID_BYTES_MAX, is_id};
use wire::guest::{Command, Exec};
use wire::id::ProcessId;
use wire::public::process::OnDisconnect;
use wire::sandbox::{defaults, limits};

use crate::entropy;
use crate::error::Result;
use crate::http::fields::Fields;
use crate::processes::{Keep, Order};

/// A user's name or number, with a group or without, in bytes.
const USER_BYTES_MAX: usize = 256;

/// Words that stand in the place of an id in paths.
const RESERVED: [&str; 4] = ["execute", "stream", "start", "batch"];

/// A command that ends with the request it came with.
pub fn to_run(fields: &mut Fields) -> Order {
    for (field, place) in [
        ("on_disconnect", "`process/stream`"),
        ("id", "`process/start` and a detached `process/stream`"),
        ("open_stdin", "`process/start` and a detached `process/stream`"),
    ] {
        if fields.take(field).is_some() {
            fields.wrong(field, format!("belongs to {place} alone; leave it out"));
        }
    }
    order(fields, Some(defaults::COMMAND_TIMEOUT_SECONDS))
}

/// A command that is streamed, and what makes it outlive its stream, if it is to.
pub fn to_stream(fields: &mut Fields) -> Result<(Order, Option<Keep>)> {
    let on_disconnect = match fields.string("on_disconnect").as_deref() {
        None | Some("kill") => OnDisconnect::Kill,
        Some("detach") => OnDisconnect::Detach,
        Some(other) => {
            fields.wrong("on_disconnect", format!("must be \"kill\" or \"detach\", not {other:?}"));
            OnDisconnect::Kill
        }
    };
    let keep = match on_disconnect {
        OnDisconnect::Detach => Some(keep(fields)?),
        OnDisconnect::Kill => {
            for field in ["id", "open_stdin"] {
                if fields.take(field).is_some() {
                    fields.wrong(field, "needs `on_disconnect` to be \"detach\"");
                }
            }
            None
        }
    };
    Ok((order(fields, Some(defaults::COMMAND_TIMEOUT_SECONDS)), keep))
}

/// A command that outlives the request it came with.
pub fn to_keep(fields: &mut Fields) -> Result<(Order, Keep)> {
    if fields.take("on_disconnect").is_some() {
        fields.wrong("on_disconnect", "belongs to `process/stream` alone; leave it out");
    }
    let keep = keep(fields)?;
    Ok((order(fields, None), keep))
}

fn keep(fields: &mut Fields) -> Result<Keep> {
    let id = match fields.string("id") {
        Some(id) => id,
        None => ProcessId::from_entropy(entropy::bytes()?).into(),
    };
    let begins_well = id.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !is_id(&id) || !begins_well || RESERVED.contains(&id.as_str()) {
        let wanted = "letters, digits, `-`, `_` and `.`, the first a letter or a digit";
        let error = format!("must be 1 to {ID_BYTES_MAX} {wanted}, and none of {}", RESERVED.join(", "));
        fields.wrong("id", error);
    }
    Ok(Keep { id, open_stdin: fields.boolean("open_stdin").unwrap_or(false) })
}

fn order(fields: &mut Fields, timeout_seconds: Option<u32>) -> Order {
    let command = command(fields);
    let exec = Exec {
        cwd: fields.path("cwd"),
        env: fields.environment("envs").unwrap_or_default(),
        user: user(fields),
        timeout_ms: None,
        stdin: false,
        id: None,
        command: command.unwrap_or(Command::Argv(Vec::new())),
    };
    let timeout = fields.integer("timeout", limits::COMMAND_TIMEOUT_SECONDS);
    Order { exec, timeout_seconds: timeout.or(timeout_seconds), stdin: stdin(fields) }
}

/// A script or a program; wrong if it is neither or both.
pub fn command(fields: &mut Fields) -> Option<Command> {
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

/// As whom, by name or number.
pub fn user(fields: &mut Fields) -> Option<String> {
    let user = match fields.take("user")? {
        Value::String(name) => name,
        Value::Number(number) if number.is_u64() => number.to_string(),
        _ => String::new(),
    };
    if user.is_empty() || user.len() > USER_BYTES_MAX || user.contains('\0') {
        fields.wrong("user", format!("must be a user's name or number, of at most {USER_BYTES_MAX} bytes"));
        return None;
    }
    Some(user)
}

fn stdin(fields: &mut Fields) -> Option<Bytes> {
    if fields.has("stdin") && fields.has("stdin_base64") {
        fields.wrong("stdin_base64", "cannot be combined with `stdin`");
        return None;
    }
    if let Some(text) = fields.string("stdin") {
        return Some(text.into());
    }
    match STANDARD.decode(fields.string("stdin_base64")?) {
        Ok(bytes) => Some(bytes.into()),
        Err(error) => {
            fields.wrong("stdin_base64", format!("must be base64: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::json;

    fn wrong<T>(body: &Value, read: impl FnOnce(&mut Fields) -> T) -> Vec<String> {
        let mut fields = Fields::parse(body.to_string().as_bytes()).unwrap();
        read(&mut fields);
        match fields.finish() {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            _ => Vec::new(),
        }
    }

    fn check(body: Value, expect: &[&str]) {
        assert_eq!(wrong(&body, to_run), expect, "{body}");
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
    fn a_user_is_a_name_or_a_number() {
        for user in [json!("root"), json!("1000:1000"), json!(0), json!(null)] {
            check(json!({"command": "true", "user": user}), &[]);
        }
        for user in
            [json!(""), json!(-1), json!(1.5), json!("a\u{0}"), json!(["root"]), json!("x".repeat(257))]
        {
            check(json!({"command": "true", "user": user}), &["user"]);
        }
    }

    #[test]
    fn input_is_text_or_bytes() {
        check(json!({"command": "cat", "stdin": ""}), &[]);
        check(json!({"command": "cat", "stdin_base64": "//8="}), &[]);
        check(json!({"command": "cat", "stdin": "a", "stdin_base64": "YQ=="}), &["stdin_base64"]);
        check(json!({"command": "cat", "stdin_base64": "not base64!"}), &["stdin_base64"]);
    }

    #[test]
    fn what_belongs_elsewhere_is_named() {
        let body = json!({"command": "true", "on_disconnect": "detach", "id": "a", "open_stdin": true});
        check(body.clone(), &["on_disconnect", "id", "open_stdin"]);
        assert_eq!(wrong(&body, to_stream), [""; 0]);
        assert_eq!(wrong(&body, to_keep), ["on_disconnect"]);
        let killed = json!({"command": "true", "id": "a", "open_stdin": true});
        assert_eq!(wrong(&killed, to_stream), ["id", "open_stdin"]);
        assert_eq!(wrong(&json!({"command": "true", "on_disconnect": "stay"}), to_stream), ["on_disconnect"]);
    }

    #[test]
    fn an_id_is_made_or_fits_into_a_path() {
        for id in ["a", "prc-1", "A.b_c-d", "0"] {
            assert_eq!(wrong(&json!({"command": "true", "id": id}), to_keep), [""; 0], "{id:?}");
        }
        let long = "x".repeat(ID_BYTES_MAX + 1);
        for id in ["", ".", "..", "-a", "a/b", "a b", "é", "stream", "batch", "a\u{0}", &long] {
            assert_eq!(wrong(&json!({"command": "true", "id": id}), to_keep), ["id"], "{id:?}");
        }
        let (order, keep) = to_keep(&mut Fields::parse(br#"{"command": "true"}"#).unwrap()).unwrap();
        assert!(keep.id.parse::<ProcessId>().is_ok(), "{keep:?}");
        assert_eq!(order.timeout_seconds, None, "a server has no time limit of its own");
    }
}
