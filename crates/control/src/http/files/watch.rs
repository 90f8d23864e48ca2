//! `…/watch`: what happens in a directory, as it happens.

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use futures_util::stream;
use wire::guest::watch::Watch;

use crate::error::Result;
use crate::files;
use crate::http::App;
use crate::http::body::json_fields;
use crate::http::extract::InSandbox;
use crate::http::fields::Fields;
use crate::http::patience::json;
use crate::http::sse::{event, sse};
use crate::store::Caller;

/// `POST …/watch`: answers when the watch stands, which ends with the connection.
pub async fn watch(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Response> {
    let watch = read(json_fields(&app, request).await?)?;
    let watching = files::watch(&app, &caller.team, &id, watch).await?;
    let keep_alive = app.limits.keep_alive;
    let events = stream::unfold((app, id, watching), |(app, id, mut watching)| async move {
        let next = watching.next(&app, &id).await?;
        let text = json(&next).map(|json| event(&json, Some(next.seq)));
        Some((text, (app, id, watching)))
    });
    Ok(sse(keep_alive, events))
}

fn read(mut fields: Fields) -> Result<Watch> {
    let path = fields.required_path("path");
    let recursive = fields.boolean("recursive").unwrap_or(false);
    let exclude = fields.strings("exclude").unwrap_or_default();
    fields.finish()?;
    Ok(Watch { path, recursive, exclude })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::{Value, json};

    fn wrong(body: Value) -> Vec<String> {
        match read(Fields::parse(body.to_string().as_bytes()).unwrap()) {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(wrong(json!({ "path": "/a", "recursive": true, "exclude": ["*.o"] })).is_empty());
        assert_eq!(wrong(json!({ "recursive": "yes", "exclude": "x" })), ["path", "recursive", "exclude"]);
    }
}
