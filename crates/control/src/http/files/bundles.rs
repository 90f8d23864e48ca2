//! `…/write-files` and `…/read-files`: several files as `multipart/form-data`, each field named by its path.

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use wire::id::SandboxId;
use wire::public::limits::FILES_MAX;

use crate::content::Content;
use crate::entropy;
use crate::error::{Error, Result};
use crate::files::multipart::{Parser, part_head, tail};
use crate::files::{self, Piece, ReadingAll};
use crate::http::App;
use crate::http::body::json_fields;
use crate::http::extract::InSandbox;
use crate::http::fields::Fields;
use crate::store::Caller;

/// Random bytes of a boundary: none of our parts has it in it.
const BOUNDARY_BYTES: usize = 20;

/// `POST …/write-files`. A body without parts need not say what it is.
pub async fn write_files(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<StatusCode> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_owned();
    let (bytes_max, idle) = (app.limits.upload_bytes_max, app.limits.body_idle);
    let mut content = Content::new(request.into_body(), "the body with the files", bytes_max, idle);
    let written = write(&app, &caller, &id, &kind, &mut content).await;
    if written.is_err() {
        content.drain().await;
    }
    written.map(|()| StatusCode::NO_CONTENT)
}

async fn write(app: &App, caller: &Caller, id: &SandboxId, kind: &str, content: &mut Content) -> Result<()> {
    files::check_there(app, &caller.team, id).await?;
    if kind.is_empty() && content.is_empty() {
        return Ok(());
    }
    let parser = Parser::new(kind).map_err(|malformed| Error::Body(malformed.to_string()))?;
    files::write_all(app, &caller.team, id, parser, content).await
}

/// `POST …/read-files`: all of them or none. The answer's body is cut off if one cannot be read to its end.
pub async fn read_files(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Response> {
    let paths = paths(json_fields(&app, request).await?)?;
    let boundary = hex::encode(entropy::bytes::<BOUNDARY_BYTES>()?);
    let kind = format!("multipart/form-data; boundary={boundary}");
    let reading = files::read_all(&app, &caller.team, &id, paths).await?;
    let answer = Answer { reading, boundary, is_first: true };
    let body = stream::try_unfold(Some(answer), |answer| async move {
        let Some(mut answer) = answer else { return Ok(None) };
        match answer.next().await {
            Ok(Some(piece)) => Ok(Some((piece, Some(answer)))),
            Ok(None) => Ok(Some((tail(&answer.boundary), None))),
            Err(error) => {
                tracing::warn!(error = wire::causes::chain(&error), "an answer that had begun is cut off");
                Err(error)
            }
        }
    });
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response())
}

/// An answer under way.
struct Answer {
    reading: ReadingAll,
    boundary: String,
    is_first: bool,
}

impl Answer {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        Ok(self.reading.next().await?.map(|piece| match piece {
            Piece::File(path) => part_head(&self.boundary, &path, std::mem::take(&mut self.is_first)),
            Piece::Data(bytes) => bytes,
        }))
    }
}

fn paths(mut fields: Fields) -> Result<Vec<String>> {
    let paths = fields.required_paths("paths", FILES_MAX);
    fields.finish()?;
    Ok(paths)
}
