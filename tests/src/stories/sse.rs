//! Server-Sent Events, as stories read them.

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use testkit::lab::Lab;

/// Events as they come, until the connection is dropped.
pub struct Events {
    body: Incoming,
    text: Vec<u8>,
}

impl Events {
    /// Asks for them; the answer must be a success.
    pub async fn open(lab: &Lab, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Self {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        let answer = lab.api.open(method, path, &headers, body.to_string().into()).await;
        assert_eq!(answer.status(), 200);
        Self::of(answer.into_body())
    }

    /// Those of an answer.
    pub fn of(body: Incoming) -> Self {
        Self { body, text: Vec::new() }
    }

    /// The next event, with its number as the SSE id; `None` after the last.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let event = String::from_utf8(self.text.drain(..end + 2).collect()).unwrap();
                let Some(event) = event.strip_prefix("data: ") else { continue };
                let (json, id) = event.trim_end().split_once("\nid: ").expect("an event without an id");
                let event: Value = serde_json::from_str(json).unwrap();
                let number = event.get("seq").or(event.get("id"));
                assert_eq!(number.map(Value::to_string).as_deref(), Some(id));
                return Some(event);
            }
            let frame = self.body.frame().await?.expect("the stream was cut");
            self.text.extend_from_slice(&frame.into_data().unwrap_or_else(|_| Bytes::new()));
        }
    }

    /// All that are still to come.
    pub async fn rest(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}
