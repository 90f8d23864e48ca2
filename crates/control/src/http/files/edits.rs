//! `…/edit-file` and `…/edit-files`: replacing text.

use axum::Json;
use axum::extract::{Extension, Request, State};
use serde_json::Value;
use wire::guest::file::Edit;
use wire::public::file::{Edited, FilesEdited};
use wire::public::limits::{EDITS_MAX, FILES_MAX};

use crate::error::Result;
use crate::files;
use crate::http::App;
use crate::http::body::json_fields;
use crate::http::extract::InSandbox;
use crate::http::fields::Fields;
use crate::store::Caller;

/// `POST …/edit-file`.
pub async fn edit_file(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Json<Edited>> {
    let (path, edits) = one_order(json_fields(&app, request).await?)?;
    files::edit(&app, &caller.team, &id, path, edits).await.map(Json)
}

/// `POST …/edit-files`: the same edit in each.
pub async fn edit_files(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Json<FilesEdited>> {
    let (paths, edit) = many_order(json_fields(&app, request).await?)?;
    let items = files::edit_all(&app, &caller.team, &id, paths, &edit).await?;
    Ok(Json(FilesEdited { items }))
}

fn one_order(mut fields: Fields) -> Result<(String, Vec<Edit>)> {
    let path = fields.required_path("path");
    let edits = match fields.take("edits") {
        Some(Value::Array(edits)) if (1..=EDITS_MAX).contains(&edits.len()) => edits,
        _ => {
            fields.wrong("edits", format!("must be a list of 1 to {EDITS_MAX} edits"));
            Vec::new()
        }
    };
    let edits = edits.into_iter().enumerate().map(|(index, edit)| read_edit(&mut fields, index, edit));
    let edits = edits.collect();
    fields.finish()?;
    Ok((path, edits))
}

fn read_edit(fields: &mut Fields, index: usize, edit: Value) -> Edit {
    let text = |name: &str| edit.get(name).filter(|value| !value.is_null());
    let find = text("find").and_then(Value::as_str).unwrap_or_default();
    if find.is_empty() {
        fields.wrong(format!("edits.{index}.find"), "must be a text that is not empty");
    }
    let replace = text("replace").map_or(Some(""), Value::as_str);
    if replace.is_none() {
        fields.wrong(format!("edits.{index}.replace"), "must be a string");
    }
    Edit { find: find.to_owned(), replace: replace.unwrap_or_default().to_owned() }
}

fn many_order(mut fields: Fields) -> Result<(Vec<String>, Edit)> {
    let paths = fields.required_paths("files", FILES_MAX);
    let find = fields.string("find").unwrap_or_default();
    if find.is_empty() {
        fields.wrong("find", "must be a text that is not empty");
    }
    let replace = fields.string("replace").unwrap_or_default();
    fields.finish()?;
    Ok((paths, Edit { find, replace }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::json;

    fn wrong<T>(read: fn(Fields) -> Result<T>, body: Value) -> Vec<String> {
        match read(Fields::parse(body.to_string().as_bytes()).unwrap()) {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn edits_name_what_they_look_for() {
        let edits = |edits: Value| wrong(one_order, json!({ "path": "/a", "edits": edits }));
        assert!(edits(json!([{ "find": "a" }, { "find": "b", "replace": null }])).is_empty());
        assert_eq!(edits(json!([])), ["edits"]);
        assert_eq!(edits(json!("a")), ["edits"]);
        assert_eq!(
            edits(json!([{ "find": "" }, { "replace": 1 }, 7])),
            ["edits.0.find", "edits.1.find", "edits.1.replace", "edits.2.find"]
        );
    }

    #[test]
    fn files_are_named() {
        assert!(wrong(many_order, json!({ "files": ["a", "b"], "find": "x" })).is_empty());
        assert_eq!(wrong(many_order, json!({ "files": [], "find": "" })), ["files", "find"]);
        assert_eq!(
            wrong(many_order, json!({ "files": ["a", ""], "find": "x", "replace": 1 })),
            ["files.1", "replace"]
        );
    }
}
