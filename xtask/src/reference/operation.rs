//! One operation: how it is asked, what it takes, what it answers, and an example of both.

use std::collections::BTreeMap;

use serde_json::Value;

use super::html::{escape, inline, json, prose};
use super::{curl, shape, text};

/// The section of one operation.
pub fn section(document: &Value, path: &str, method: &str) -> String {
    let operation = &document["paths"][path][method];
    let id = text(operation, "operationId");
    format!(
        "<article class=\"operation\" id=\"{id}\">\n<h3><a href=\"#{id}\">{}</a></h3>\n\
         <p class=\"route\"><span class=\"method {method}\">{}</span> <code>{}</code></p>\n\
         <div class=\"columns\">\n<div>\n{}{}{}{}{}</div>\n<div class=\"examples\">\n{}</div>\n</div>\n</article>\n",
        escape(text(operation, "summary")),
        method.to_uppercase(),
        path_with_breaks(path),
        access(operation),
        prose(text(operation, "description")),
        parameters(operation),
        body(document, operation),
        answers(document, operation),
        examples(path, method, operation),
    )
}

/// Long paths may be broken before a slash.
fn path_with_breaks(path: &str) -> String {
    escape(path).replace('/', "<wbr>/")
}

fn access(operation: &Value) -> String {
    let schemes = operation["security"].as_array().cloned().unwrap_or_default();
    let needs = match schemes.first() {
        None => "Needs no key.",
        Some(scheme)
            if scheme["bearer"]
                .as_array()
                .is_some_and(|roles| roles.iter().any(|role| role == "operator")) =>
        {
            "Needs a key with the scope <code>operator</code>."
        }
        Some(scheme) if scheme["bearer"].as_array().is_some_and(Vec::is_empty) => {
            "Needs a key, whatever it opens."
        }
        Some(_) => return String::new(),
    };
    format!("<p class=\"access\">{needs}</p>\n")
}

fn parameters(operation: &Value) -> String {
    let places = [("path", "In the path"), ("query", "In the query"), ("header", "In a header")];
    let mut out = String::new();
    for (place, title) in places {
        let all = operation["parameters"].as_array().into_iter().flatten();
        let rows = all.filter(|parameter| parameter["in"] == place).map(|parameter| {
            let mut shape = parameter["schema"].clone();
            shape["description"] = parameter["description"].clone();
            shape::row(text(parameter, "name"), parameter["required"] == true, &shape)
        });
        let rows = rows.collect::<String>();
        if !rows.is_empty() {
            out += &format!("<h4>{title}</h4>\n<dl class=\"fields\">\n{rows}</dl>\n");
        }
    }
    out
}

fn body(document: &Value, operation: &Value) -> String {
    let Some(content) = operation.pointer("/requestBody/content").and_then(Value::as_object) else {
        return String::new();
    };
    let optional = if operation["requestBody"]["required"] == true { "" } else { ", may be left out" };
    let bodies = content.iter().map(|(kind, content)| {
        let schema = &content["schema"];
        let fields = match resolve(document, schema) {
            Some(shape) if shape["properties"].is_object() => shape::fields(shape),
            _ => format!("{}\n", prose(text(schema, "description"))),
        };
        format!("<h4>Body <span class=\"kind\">{}{optional}</span></h4>\n{fields}", escape(kind))
    });
    bodies.collect()
}

fn answers(document: &Value, operation: &Value) -> String {
    let mut out = String::from("<h4>Answers</h4>\n<dl class=\"answers\">\n");
    let mut failing = String::new();
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        if let Some(failure) = resolve(document, response) {
            let title = escape(text(failure, "description"));
            failing += &format!("<a href=\"#failure-{status}\" title=\"{title}\">{}</a> ", pill(status));
            continue;
        }
        out += &format!("<dt>{}</dt><dd><p>{}</p>", pill(status), inline(text(response, "description")));
        for (kind, content) in response["content"].as_object().into_iter().flatten() {
            out += &format!("<p class=\"kind\">{}</p>", answer_kind(kind, content));
        }
        out += "</dd>\n";
    }
    out += "</dl>\n";
    if !failing.is_empty() {
        out += &format!("<p class=\"failing\">Fails with {failing}</p>\n");
    }
    out
}

fn answer_kind(kind: &str, content: &Value) -> String {
    let kind_text = escape(kind);
    match (kind, content.get("x-item-schema")) {
        ("application/json", _) => shape::kind(&content["schema"]),
        ("text/event-stream", Some(item)) => {
            format!("{kind_text}, {} in the <code>data</code> of each", shape::kind(item))
        }
        (_, Some(item)) => format!("{kind_text}, {} on each line", shape::kind(item)),
        _ => kind_text,
    }
}

fn examples(path: &str, method: &str, operation: &Value) -> String {
    let mut out = format!("<pre>{}</pre>\n", escape(&curl::command(path, method, operation)));
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let contents = response["content"].as_object().into_iter().flatten();
        for example in contents.filter_map(|(_, content)| content.get("example")) {
            let text = example.as_str().map_or_else(|| json(example), |text| text.trim_end().to_owned());
            out += &format!("<p class=\"caption\">{}</p>\n<pre>{}</pre>\n", pill(status), escape(&text));
        }
    }
    out
}

/// All failures of the document, by status.
pub fn failures(document: &Value) -> BTreeMap<String, &Value> {
    let operations =
        document["paths"].as_object().into_iter().flatten().flat_map(|(_, path)| path.as_object());
    let responses =
        operations.flatten().filter_map(|(_, operation)| operation["responses"].as_object()).flatten();
    responses.filter_map(|(status, response)| Some((status.clone(), resolve(document, response)?))).collect()
}

/// A status, coloured by its kind.
pub fn pill(status: &str) -> String {
    let class = status.get(..1).unwrap_or_default();
    format!("<span class=\"status s{class}\">{status}</span>")
}

/// Where a reference leads.
fn resolve<'a>(document: &'a Value, value: &Value) -> Option<&'a Value> {
    document.pointer(value["$ref"].as_str()?.strip_prefix('#')?)
}
