//! One route: what it takes, what it does, what it answers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::failures::Failure;
use super::schemas::{Schemas, Shape};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Whoever has a team's key.
    Team,
    /// Whoever has any key.
    Keyed,
    /// Whoever has an operator's key.
    Operator,
}

/// One route and method.
pub struct Operation {
    pub method: &'static str,
    pub path: &'static str,
    pub id: &'static str,
    title: &'static str,
    text: Vec<&'static str>,
    access: Access,
    parameters: Vec<Value>,
    body: Option<Body>,
    answers: BTreeMap<u16, Answer>,
    failures: Vec<Failure>,
}

struct Body {
    required: bool,
    content: Content,
}

struct Answer {
    text: &'static str,
    /// In which forms; nothing where there is no body.
    contents: Vec<Content>,
}

/// What is in a body.
struct Content {
    kind: &'static str,
    shape: Shape,
    example: Option<Value>,
    /// The shape of each event or line of a stream.
    item: Option<Shape>,
}

pub fn get(path: &'static str, id: &'static str, title: &'static str) -> Operation {
    Operation::new("get", path, id, title)
}

pub fn post(path: &'static str, id: &'static str, title: &'static str) -> Operation {
    Operation::new("post", path, id, title)
}

pub fn put(path: &'static str, id: &'static str, title: &'static str) -> Operation {
    Operation::new("put", path, id, title)
}

pub fn patch(path: &'static str, id: &'static str, title: &'static str) -> Operation {
    Operation::new("patch", path, id, title)
}

pub fn delete(path: &'static str, id: &'static str, title: &'static str) -> Operation {
    Operation::new("delete", path, id, title)
}

impl Operation {
    fn new(method: &'static str, path: &'static str, id: &'static str, title: &'static str) -> Self {
        Self {
            method,
            path,
            id,
            title,
            text: Vec::new(),
            access: Access::Team,
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    /// A paragraph about it.
    pub fn says(mut self, text: &'static str) -> Self {
        self.text.push(text);
        self
    }

    /// Who may call it; a team's key where nothing is said.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// A part of the path that is a `T`.
    pub fn in_path<T: JsonSchema + Serialize>(self, name: &str, text: &str, example: &T) -> Self {
        self.parameter::<T>("path", name, true, text, Some(json!(example)))
    }

    /// A part of the path that is a text of this shape.
    pub fn in_path_as<T: JsonSchema>(self, name: &str, text: &str, example: &str) -> Self {
        self.parameter::<T>("path", name, true, text, Some(example.into()))
    }

    /// A parameter of the query that may be left out.
    pub fn in_query<T: JsonSchema>(self, name: &str, text: &str) -> Self {
        self.parameter::<T>("query", name, false, text, None)
    }

    /// A parameter of the query that must be there.
    pub fn in_query_always<T: JsonSchema>(self, name: &str, text: &str, example: &str) -> Self {
        self.parameter::<T>("query", name, true, text, Some(example.into()))
    }

    /// A header that may be left out.
    pub fn in_header<T: JsonSchema>(self, name: &str, text: &str) -> Self {
        self.parameter::<T>("header", name, false, text, None)
    }

    fn parameter<T: JsonSchema>(
        mut self,
        place: &str,
        name: &str,
        required: bool,
        text: &str,
        example: Option<Value>,
    ) -> Self {
        let schema = Schemas::new().sent::<T>();
        let mut parameter =
            json!({ "in": place, "name": name, "required": required, "description": text, "schema": schema });
        if let Some(example) = example {
            parameter["example"] = example;
        }
        self.parameters.push(parameter);
        self
    }

    /// A body of JSON, such as this one.
    pub fn takes<T: JsonSchema + Serialize>(self, example: &T) -> Self {
        self.takes_if(true, example)
    }

    /// A body of JSON, such as this one, that may be left out.
    pub fn may_take<T: JsonSchema + Serialize>(self, example: &T) -> Self {
        self.takes_if(false, example)
    }

    fn takes_if<T: JsonSchema + Serialize>(mut self, required: bool, example: &T) -> Self {
        let example = Some(json!(example));
        let content = Content { kind: "application/json", shape: Schemas::sent::<T>, example, item: None };
        self.body = Some(Body { required, content });
        self
    }

    /// A body that is not JSON.
    pub fn takes_raw(mut self, required: bool, kind: &'static str, shape: Shape) -> Self {
        self.body = Some(Body { required, content: Content { kind, shape, example: None, item: None } });
        self
    }

    /// An answer of JSON, such as this one.
    pub fn answers<T: JsonSchema + Serialize>(self, status: u16, text: &'static str, example: &T) -> Self {
        let example = Some(json!(example));
        self.answer(
            status,
            text,
            Some(Content { kind: "application/json", shape: Schemas::answered::<T>, example, item: None }),
        )
    }

    /// An answer without a body.
    pub fn answers_nothing(self, status: u16, text: &'static str) -> Self {
        self.answer(status, text, None)
    }

    /// An answer that is not JSON.
    pub fn answers_raw(self, status: u16, text: &'static str, kind: &'static str, shape: Shape) -> Self {
        self.answer(status, text, Some(Content { kind, shape, example: None, item: None }))
    }

    /// An answer that is a stream of Server-Sent Events, a `T` in the `data:` of each.
    pub fn answers_events<T: JsonSchema + Serialize>(self, text: &'static str, examples: &[T]) -> Self {
        let lines = examples.iter().map(|event| format!("data: {}\n\n", json!(event)));
        self.streams::<T>(text, "text/event-stream", lines.collect())
    }

    /// An answer that is a stream of lines, a `T` each.
    pub fn answers_lines<T: JsonSchema + Serialize>(self, text: &'static str, examples: &[T]) -> Self {
        let lines = examples.iter().map(|event| format!("{}\n", json!(event)));
        self.streams::<T>(text, "application/x-ndjson", lines.collect())
    }

    fn streams<T: JsonSchema>(self, text: &'static str, kind: &'static str, example: String) -> Self {
        let (shape, item): (Shape, Shape) = (|_| json!({ "type": "string" }), Schemas::answered::<T>);
        let example = Some(example.into());
        self.answer(200, text, Some(Content { kind, shape, example, item: Some(item) }))
    }

    fn answer(mut self, status: u16, text: &'static str, content: Option<Content>) -> Self {
        let answer = self.answers.entry(status).or_insert(Answer { text, contents: Vec::new() });
        // An answer can be asked for in several forms; what it is is said of the first.
        answer.contents.extend(content);
        self
    }

    /// How it may fail, besides what is true of all.
    pub fn fails(mut self, failures: &[Failure]) -> Self {
        self.failures.extend_from_slice(failures);
        self
    }

    /// Its part of the document.
    pub fn write(&self, tag: &str, schemas: &mut Schemas) -> Value {
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.title,
            "tags": [tag],
            "security": self.security(),
            "responses": self.responses(schemas),
        });
        if !self.text.is_empty() {
            operation["description"] = self.text.join("\n\n").into();
        }
        if !self.parameters.is_empty() {
            operation["parameters"] = Value::Array(self.parameters.clone());
        }
        if let Some(Body { required, content }) = &self.body {
            operation["requestBody"] = json!({ "required": required, "content": content.write(schemas) });
        }
        operation
    }

    fn security(&self) -> Value {
        let roles: &[&str] = match self.access {
            Access::Public => return json!([]),
            Access::Team => &["team"],
            Access::Keyed => &[],
            Access::Operator => &["operator"],
        };
        json!([{ "bearer": roles }, { "header": roles }])
    }

    fn responses(&self, schemas: &mut Schemas) -> Value {
        let mut responses = Map::new();
        for (status, answer) in &self.answers {
            let mut response = json!({ "description": answer.text });
            for content in &answer.contents {
                response["content"][content.kind] = content.write(schemas)[content.kind].take();
            }
            responses.insert(status.to_string(), response);
        }
        for failure in self.failures.iter().copied().chain(self.common_failures()) {
            responses.insert(failure.status().to_string(), failure.reference());
        }
        Value::Object(responses)
    }

    fn common_failures(&self) -> Vec<Failure> {
        let of_access: &[Failure] = match self.access {
            Access::Public => &[],
            Access::Team => {
                &[Failure::Unauthorized, Failure::Forbidden, Failure::RateLimited, Failure::Internal]
            }
            Access::Keyed => &[Failure::Unauthorized, Failure::RateLimited, Failure::Internal],
            Access::Operator => &[Failure::Unauthorized, Failure::Forbidden, Failure::Internal],
        };
        // Whoever has a key is looked up in the store.
        let of_store: &[Failure] = match self.access {
            Access::Public => &[],
            _ => &[Failure::Unavailable, Failure::DiskFull],
        };
        let json = self.body.as_ref().map(|body| body.content.kind);
        let of_body: &[Failure] = match json {
            Some(_) => &[Failure::Invalid, Failure::Stalled, Failure::TooLarge],
            None if self.parameters.iter().any(|parameter| parameter["in"] != "path") => &[Failure::Invalid],
            None => &[],
        };
        [of_access, of_store, of_body].concat()
    }
}

impl Content {
    fn write(&self, schemas: &mut Schemas) -> Value {
        let mut content = json!({ "schema": (self.shape)(schemas) });
        if let Some(example) = &self.example {
            content["example"] = example.clone();
        }
        if let Some(item) = self.item {
            content["x-item-schema"] = item(schemas);
        }
        json!({ self.kind: content })
    }
}
