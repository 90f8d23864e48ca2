//! `…/write-file` and `…/read-file`: one file, as it is.

use axum::body::Body;
use axum::extract::{Extension, RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{StatusCode, header};
use wire::guest::{Part, ReadFile, WriteFile};

use super::{MODE_WANTED, octal};
use crate::content::Content;
use crate::error::{Error, Result};
use crate::files;
use crate::http::App;
use crate::http::body::json_fields;
use crate::http::extract::InSandbox;
use crate::http::fields::{Fields, path_error};
use crate::http::query::Query;
use crate::store::Caller;

/// `POST …/write-file?path=…&permissions=…`: the body is the file.
pub async fn write_file(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<StatusCode> {
    let mut content =
        Content::new(request.into_body(), "the file", app.limits.upload_bytes_max, app.limits.body_idle);
    let written = match write_order(query.as_deref()) {
        Ok(file) => files::write(&app, &caller.team, &id, file, &mut content).await,
        Err(error) => Err(error),
    };
    if written.is_err() {
        content.drain().await;
    }
    written.map(|()| StatusCode::NO_CONTENT)
}

fn write_order(query: Option<&str>) -> Result<WriteFile> {
    let mut query = Query::parse(query)?;
    let path = query.text("path").unwrap_or_default().to_owned();
    if let Some(error) = path_error(&path) {
        return Err(Error::field("path", error));
    }
    let mode = query.read("permissions", MODE_WANTED, octal);
    query.finish()?;
    Ok(WriteFile { path, mode })
}

/// `POST …/read-file`: the answer's body is the file; cut off if it cannot be read to its end.
pub async fn read_file(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Response> {
    let file = read_order(json_fields(&app, request).await?)?;
    let reading = files::read(&app, &caller.team, &id, file).await?;
    let body = stream::try_unfold(reading, |mut reading| async move {
        match reading.next().await {
            Ok(piece) => Ok(piece.map(|piece| (piece, reading))),
            Err(error) => {
                tracing::warn!(error = wire::causes::chain(&error), "an answer that had begun is cut off");
                Err(error)
            }
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(body)).into_response())
}

fn read_order(mut fields: Fields) -> Result<ReadFile> {
    let path = fields.required_path("path");
    let (offset, limit) = (fields.count("offset"), fields.count("limit"));
    let (head, tail) = (fields.count("head"), fields.count("tail"));
    let part = match (head, tail, offset, limit) {
        (None, None, None, None) => Part::Whole,
        (None, None, offset, limit) => Part::Bytes { offset: offset.unwrap_or(0), limit },
        (Some(lines), None, None, None) => Part::Head { lines },
        (None, Some(lines), None, None) => Part::Tail { lines },
        (Some(_), Some(_), ..) => {
            fields.wrong("tail", "cannot be combined with `head`");
            Part::Whole
        }
        _ => {
            let field = if head.is_some() { "head" } else { "tail" };
            fields.wrong(field, "cannot be combined with `offset` or `limit`");
            Part::Whole
        }
    };
    fields.finish()?;
    Ok(ReadFile { path, part })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_place_to_write_is_in_the_query() {
        let file = write_order(Some("path=%2Ftmp%2Fa+b&permissions=0755")).unwrap();
        assert_eq!(file, WriteFile { path: "/tmp/a b".into(), mode: Some(0o755) });
        assert_eq!(write_order(Some("path=x")).unwrap().mode, None);
        for bad in [
            None,
            Some("path="),
            Some("path=%00"),
            Some("path=x&permissions=9"),
            Some("path=x&permissions=77777"),
        ] {
            assert!(matches!(write_order(bad), Err(Error::Fields(_))), "{bad:?}");
        }
    }

    fn part(body: serde_json::Value) -> Option<Part> {
        read_order(Fields::parse(body.to_string().as_bytes()).unwrap()).ok().map(|file| file.part)
    }

    #[test]
    fn a_part_of_a_file_is_bytes_or_lines() {
        assert_eq!(part(json!({"path": "x"})), Some(Part::Whole));
        assert_eq!(part(json!({"path": "x", "limit": 5})), Some(Part::Bytes { offset: 0, limit: Some(5) }));
        assert_eq!(part(json!({"path": "x", "offset": 7})), Some(Part::Bytes { offset: 7, limit: None }));
        assert_eq!(part(json!({"path": "x", "head": 3})), Some(Part::Head { lines: 3 }));
        assert_eq!(part(json!({"path": "x", "tail": 3, "head": null})), Some(Part::Tail { lines: 3 }));
        assert_eq!(part(json!({"path": "x", "head": 1, "tail": 1})), None);
        assert_eq!(part(json!({"path": "x", "head": 1, "offset": 1})), None);
        assert_eq!(part(json!({"path": "x", "offset": -1})), None);
        assert_eq!(part(json!({})), None);
    }
}
