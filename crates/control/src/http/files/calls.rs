//! Operations on files that are answered in one word.

use axum::Json;
use axum::extract::{Extension, Request, State};
use http::StatusCode;
use wire::guest::file::{FileCall, FileInfo};
use wire::public::file::Existence;

use super::mode;
use crate::error::Result;
use crate::files;
use crate::http::App;
use crate::http::body::json_fields;
use crate::http::extract::InSandbox;
use crate::http::fields::Fields;
use crate::store::Caller;

/// Permission bits of a directory where nobody says.
const DIRECTORY_MODE: u32 = 0o755;

/// `POST …/stat`.
pub async fn stat(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Json<FileInfo>> {
    let path = only_path(json_fields(&app, request).await?)?;
    files::stat(&app, &caller.team, &id, path).await.map(Json)
}

/// `POST …/exists`.
pub async fn exists(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Json<Existence>> {
    let path = only_path(json_fields(&app, request).await?)?;
    let exists = files::exists(&app, &caller.team, &id, path).await?;
    Ok(Json(Existence { exists }))
}

fn only_path(mut fields: Fields) -> Result<String> {
    let path = fields.required_path("path");
    fields.finish()?;
    Ok(path)
}

/// Makes a handler of what reads a body: it carries out the operation and answers 204.
macro_rules! handlers {
    ($($(#[$doc:meta])* $name:ident = $read:ident;)*) => {$(
        $(#[$doc])*
        pub async fn $name(
            State(app): State<App>,
            Extension(caller): Extension<Caller>,
            InSandbox(id): InSandbox,
            request: Request,
        ) -> Result<StatusCode> {
            let call = $read(json_fields(&app, request).await?)?;
            files::nothing(&app, &caller.team, &id, call).await?;
            Ok(StatusCode::NO_CONTENT)
        }
    )*};
}

handlers! {
    /// `POST …/mkdir`.
    mkdir = make_directory_call;
    /// `POST …/delete`.
    delete = remove_call;
    /// `POST …/set-permissions`.
    set_permissions = set_permissions_call;
    /// `POST …/move`.
    relocate = move_call;
    /// `POST …/copy`.
    copy = copy_call;
}

fn make_directory_call(mut fields: Fields) -> Result<FileCall> {
    let path = fields.required_path("path");
    let recursive = fields.boolean("recursive").unwrap_or(false);
    let mode = mode(&mut fields, "permissions").unwrap_or(DIRECTORY_MODE);
    fields.finish()?;
    Ok(FileCall::MakeDirectory { path, recursive, mode })
}

fn remove_call(mut fields: Fields) -> Result<FileCall> {
    let path = fields.required_path("path");
    let recursive = fields.boolean("recursive").unwrap_or(false);
    fields.finish()?;
    Ok(FileCall::Remove { path, recursive })
}

fn set_permissions_call(mut fields: Fields) -> Result<FileCall> {
    let path = fields.required_path("path");
    if !["mode", "owner", "group"].iter().any(|name| fields.has(name)) {
        fields.wrong("mode", "at least one of `mode`, `owner` and `group` must be given");
    }
    let mode = mode(&mut fields, "mode");
    let (owner, group) = (account(&mut fields, "owner"), account(&mut fields, "group"));
    fields.finish()?;
    Ok(FileCall::SetPermissions { path, mode, owner, group })
}

/// A user or group, by name or number.
fn account(fields: &mut Fields, name: &str) -> Option<String> {
    let account = fields.string(name)?;
    if account.is_empty() || account.contains([':', '\n', '\0']) {
        fields.wrong(name, "must be a name or a number");
    }
    Some(account)
}

fn move_call(mut fields: Fields) -> Result<FileCall> {
    let (from, to) = (fields.required_path("src_path"), fields.required_path("dst_path"));
    let overwrite = fields.boolean("overwrite").unwrap_or(false);
    fields.finish()?;
    Ok(FileCall::Move { from, to, overwrite })
}

fn copy_call(mut fields: Fields) -> Result<FileCall> {
    let (from, to) = (fields.required_path("src_path"), fields.required_path("dst_path"));
    let recursive = fields.boolean("recursive").unwrap_or(false);
    let overwrite = fields.boolean("overwrite").unwrap_or(false);
    fields.finish()?;
    Ok(FileCall::Copy { from, to, recursive, overwrite })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::{Value, json};

    fn check(read: fn(Fields) -> Result<FileCall>, body: Value, expect: Result<FileCall, &[&str]>) {
        let call = read(Fields::parse(body.to_string().as_bytes()).unwrap());
        match (call, expect) {
            (Ok(call), Ok(expect)) => assert_eq!(call, expect, "{body}"),
            (Err(Error::Fields(errors)), Err(expect)) => {
                let wrong: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
                assert_eq!(wrong, expect, "{body}");
            }
            (call, _) => panic!("{body}: {call:?}"),
        }
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let path = || "/a".to_owned();
        let made = |recursive, mode| Ok(FileCall::MakeDirectory { path: path(), recursive, mode });
        check(make_directory_call, json!({ "path": "/a" }), made(false, 0o755));
        check(make_directory_call, json!({ "path": "/a", "permissions": null }), made(false, 0o755));
        check(
            make_directory_call,
            json!({ "path": "/a", "recursive": true, "permissions": "0700" }),
            made(true, 0o700),
        );
        check(remove_call, json!({ "path": "/a" }), Ok(FileCall::Remove { path: path(), recursive: false }));
        let copied = FileCall::Copy { from: path(), to: "b".into(), recursive: false, overwrite: false };
        check(copy_call, json!({ "src_path": "/a", "dst_path": "b" }), Ok(copied));
        let moved = FileCall::Move { from: path(), to: "b".into(), overwrite: true };
        check(move_call, json!({ "src_path": "/a", "dst_path": "b", "overwrite": true }), Ok(moved));
    }

    #[test]
    fn what_is_wrong_is_named() {
        check(make_directory_call, json!({ "permissions": "rwx" }), Err(&["path", "permissions"]));
        check(remove_call, json!({ "path": "", "recursive": 1 }), Err(&["path", "recursive"]));
        check(set_permissions_call, json!({ "path": "/a" }), Err(&["mode"]));
        check(
            set_permissions_call,
            json!({ "path": "/a", "mode": 755, "owner": "" }),
            Err(&["mode", "owner"]),
        );
        check(copy_call, json!({}), Err(&["src_path", "dst_path"]));
        check(move_call, json!({ "src_path": "a\u{0}", "dst_path": 1 }), Err(&["src_path", "dst_path"]));
    }

    #[test]
    fn permissions_need_one_thing_to_change() {
        let call = FileCall::SetPermissions {
            path: "/a".into(),
            mode: None,
            owner: Some("root".into()),
            group: None,
        };
        check(set_permissions_call, json!({ "path": "/a", "owner": "root" }), Ok(call));
    }
}
