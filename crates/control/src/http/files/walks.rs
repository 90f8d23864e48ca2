//! `…/ls`, `…/glob`, `…/grep` and `…/tree`: lists that are written out while they are found.

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header;
use wire::guest::file::Walk;
use wire::id::SandboxId;
use wire::public::limits::TREE_DEPTH;

use crate::error::Result;
use crate::files::{self, Told};
use crate::http::App;
use crate::http::body::json_fields;
use crate::http::extract::InSandbox;
use crate::http::fields::Fields;
use crate::store::Caller;

/// Makes a handler of what reads a body.
macro_rules! handlers {
    ($($(#[$doc:meta])* $name:ident = $read:ident;)*) => {$(
        $(#[$doc])*
        pub async fn $name(
            State(app): State<App>,
            Extension(caller): Extension<Caller>,
            InSandbox(id): InSandbox,
            request: Request,
        ) -> Result<Response> {
            let walk = $read(json_fields(&app, request).await?)?;
            answer(app, caller, id, walk).await
        }
    )*};
}

handlers! {
    /// `POST …/ls`.
    ls = list_walk;
    /// `POST …/glob`.
    glob = glob_walk;
    /// `POST …/grep`.
    grep = grep_walk;
    /// `POST …/tree`.
    tree = tree_walk;
}

/// Items as they are found. Where nothing is found for a while, the answer goes on with spaces, which JSON allows; if the
/// walk then fails, the body is cut off.
async fn answer(app: App, caller: Caller, id: SandboxId, walk: Walk) -> Result<Response> {
    let keep_alive = app.limits.keep_alive;
    let walking = files::walk(&app, &caller.team, &id, walk, keep_alive).await?;
    let body = stream::try_unfold(Some(walking), move |walking| async move {
        let Some(mut walking) = walking else { return Ok(None) };
        match walking.next(keep_alive).await {
            Ok(Told::Some(bytes)) => Ok(Some((bytes, Some(walking)))),
            Ok(Told::NothingYet) => Ok(Some((Bytes::from_static(b" "), Some(walking)))),
            Ok(Told::Last(bytes)) => Ok(Some((bytes, None))),
            Err(error) => {
                tracing::warn!(error = wire::causes::chain(&error), "an answer that had begun is cut off");
                Err(error)
            }
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
}

fn list_walk(mut fields: Fields) -> Result<Walk> {
    let path = fields.required_path("path");
    let recursive = fields.boolean("recursive").unwrap_or(false);
    let exclude = fields.strings("exclude").unwrap_or_default();
    fields.finish()?;
    Ok(Walk::List { path, recursive, exclude })
}

fn glob_walk(mut fields: Fields) -> Result<Walk> {
    let path = fields.required_path("path");
    let pattern = text(&mut fields, "pattern");
    let exclude = fields.strings("exclude").unwrap_or_default();
    fields.finish()?;
    Ok(Walk::Glob { path, pattern, exclude })
}

fn grep_walk(mut fields: Fields) -> Result<Walk> {
    let path = fields.required_path("path");
    let pattern = text(&mut fields, "pattern");
    let include = fields.string("include");
    let exclude = fields.strings("exclude").unwrap_or_default();
    fields.finish()?;
    Ok(Walk::Grep { path, pattern, include, exclude })
}

fn tree_walk(mut fields: Fields) -> Result<Walk> {
    let path = fields.required_path("path");
    let max_depth = fields.integer("max_depth", TREE_DEPTH);
    let exclude = fields.strings("exclude").unwrap_or_default();
    fields.finish()?;
    Ok(Walk::Tree { path, max_depth, exclude })
}

/// A text that has to be there, with something in it.
fn text(fields: &mut Fields, name: &str) -> String {
    let is_there = fields.has(name);
    let text = fields.string(name);
    if !is_there || text.as_ref().is_some_and(String::is_empty) {
        fields.wrong(name, "must be a text that is not empty");
    }
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::{Value, json};

    fn wrong(read: fn(Fields) -> Result<Walk>, body: Value) -> Vec<String> {
        match read(Fields::parse(body.to_string().as_bytes()).unwrap()) {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(wrong(list_walk, json!({ "path": "/a", "exclude": ["*.o"] })).is_empty());
        assert_eq!(
            wrong(list_walk, json!({ "recursive": "yes", "exclude": "x" })),
            ["path", "recursive", "exclude"]
        );
        assert_eq!(wrong(glob_walk, json!({ "path": "/a" })), ["pattern"]);
        assert_eq!(wrong(glob_walk, json!({ "path": "/a", "pattern": 1 })), ["pattern"]);
        assert_eq!(
            wrong(grep_walk, json!({ "path": "/a", "pattern": "", "include": 1 })),
            ["pattern", "include"]
        );
        assert_eq!(wrong(tree_walk, json!({ "path": "/a", "max_depth": 0 })), ["max_depth"]);
    }
}
