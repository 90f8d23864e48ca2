//! `contract/public.json`: the public API as OpenAPI 3.1, from the types in `wire::public` and a list of operations.

mod events;
mod examples;
mod failures;
mod files;
mod keys;
mod operation;
mod operator;
mod ports;
mod processes;
mod ptys;
mod sandboxes;
mod schemas;
mod snapshots;
mod teams;
mod templates;
mod tidy;

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use crate::reference;
use operation::Operation;
use schemas::Schemas;

/// A kind of object, and all that can be done with it.
pub struct Noun {
    /// What it is called.
    pub tag: &'static str,
    /// What it is.
    pub text: &'static str,
    /// In the order people should read them.
    pub operations: Vec<Operation>,
}

/// In the order people should read them.
fn nouns() -> Vec<Noun> {
    vec![
        sandboxes::noun(),
        events::noun(),
        processes::noun(),
        files::noun(),
        ptys::noun(),
        ports::noun(),
        templates::noun(),
        snapshots::noun(),
        keys::noun(),
        teams::noun(),
        operator::fleet(),
        operator::server(),
    ]
}

const INTRODUCTION: &str = "\
Atoll runs sandboxes for agents: machines of their own, made from a template in milliseconds, in which commands run and \
files are written.

Requests carry an API key, as `Authorization: Bearer <key>` or as `leap0-authorization: <key>`; where both are there, \
the latter counts. A key belongs to a team, and objects of other teams are not there.

Bodies are JSON in UTF-8 unless said otherwise. In what you send, `null` is the same as absent, and fields nobody knows \
are ignored. In what you get, fields without a value are absent. Times are RFC 3339 in UTC. Every answer names its \
request in `x-request-id`; every failure is JSON with a `message` for people and a `code` for programs. Paths work with \
and without a slash at the end only where clients in use need it.";

/// The document, and the chapters it should be read in.
pub struct Api {
    document: Value,
    nouns: Vec<Noun>,
}

/// Describes the API.
///
/// # Errors
/// When two operations or shapes have one name.
pub fn describe() -> Result<Api> {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    let mut tags = Vec::new();
    let mut ids = Vec::new();
    let nouns = nouns();
    for noun in &nouns {
        tags.push(json!({ "name": noun.tag, "description": noun.text }));
        for operation in &noun.operations {
            ensure!(!ids.contains(&operation.id), "two operations are called {}", operation.id);
            ids.push(operation.id);
            let path = paths.entry(operation.path).or_insert_with(|| json!({}));
            ensure!(
                path.get(operation.method).is_none(),
                "{} {} is there twice",
                operation.method,
                operation.path
            );
            path[operation.method] = operation.write(noun.tag, &mut schemas);
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Atoll",
            "version": "1",
            "description": INTRODUCTION,
            "license": { "name": "Apache License 2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "The server this document came from." }],
        "tags": tags,
        "paths": paths,
        "components": {
            "responses": failures::answers(&mut schemas),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <key>`" },
                "header": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "leap0-authorization",
                    "description": "The key alone, or after `Bearer `. Beats `Authorization`.",
                },
            },
        },
    });
    schemas.finish(&mut document)?;
    Ok(Api { document, nouns })
}

impl Api {
    /// `contract/public.json`.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.document)? + "\n")
    }

    /// `docs/api.html`.
    pub fn page(&self) -> String {
        let chapters = self.nouns.iter().map(|noun| {
            let operations = noun.operations.iter().map(|operation| (operation.path, operation.method));
            (noun.tag, operations.collect())
        });
        reference::page(&self.document, &chapters.collect::<Vec<_>>())
    }
}
