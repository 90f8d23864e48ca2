//! Server-Sent Events.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header;

use crate::error::Result;

/// An answer of these events, with a comment where nothing else keeps the client alive. One that is an error cuts it off.
pub fn sse(keep_alive: Duration, events: impl Stream<Item = Result<String>> + Send + 'static) -> Response {
    let pieces = stream::unfold(Box::pin(events), move |mut events| async move {
        let piece = match tokio::time::timeout(keep_alive, events.next()).await {
            Err(_) => Ok(Bytes::from_static(b": ping\n\n")),
            Ok(event) => event?.map(Bytes::from),
        };
        Some((piece, events))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(pieces)).into_response()
}

/// One event. `json` is its data, in one line; `id` is what a client that comes back says it has seen.
pub fn event(json: &str, id: Option<u64>) -> String {
    let data = line_safe(json);
    match id {
        Some(id) => format!("data: {data}\nid: {id}\n\n"),
        None => format!("data: {data}\n\n"),
    }
}

/// Some clients end lines at these three too, and would lose the event.
fn line_safe(json: &str) -> String {
    json.replace('\u{85}', "\\u0085").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_that_only_some_know_are_escaped() {
        let text = "a\u{85}b\u{2028}c\u{2029}d\ne";
        let safe = line_safe(&serde_json::to_string(text).unwrap());
        assert!(!safe.contains(['\u{85}', '\u{2028}', '\u{2029}', '\n']));
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
    }

    #[test]
    fn an_event_is_its_data_and_its_number() {
        assert_eq!(event("{}", Some(7)), "data: {}\nid: 7\n\n");
        assert_eq!(event("{}", None), "data: {}\n\n");
    }
}
