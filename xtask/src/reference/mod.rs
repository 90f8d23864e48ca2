//! `docs/api.html`: the API's reference as one page, from the same document as `contract/public.json`.
//!
//! It loads nothing and runs nothing: it can be read where there is no network, and be searched as text.

mod curl;
mod html;
mod operation;
mod shape;

use serde_json::Value;

use html::{escape, prose};

const STYLE: &str = include_str!("style.css");

/// A group of operations: its tag, and the path and method of each, in the order people should read them.
pub type Chapter<'a> = (&'a str, Vec<(&'a str, &'a str)>);

/// The page.
pub fn page(document: &Value, chapters: &[Chapter<'_>]) -> String {
    let title = document["info"]["title"].as_str().unwrap_or_default();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} API</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <nav>\n{}</nav>\n<main>\n{}{}{}</main>\n</body>\n</html>\n",
        contents(document, chapters),
        introduction(document, title),
        chapters.iter().map(|chapter| self::chapter(document, chapter)).collect::<String>(),
        shapes(document),
    )
}

fn contents(document: &Value, chapters: &[Chapter<'_>]) -> String {
    let mut out = String::from("<p class=\"brand\"><a href=\"#top\">Atoll API</a></p>\n");
    for (tag, operations) in chapters {
        out += &format!("<h2><a href=\"#{}\">{tag}</a></h2>\n<ul>\n", anchor(tag));
        for (path, method) in operations {
            let operation = &document["paths"][path][method];
            let (id, title) = (text(operation, "operationId"), text(operation, "summary"));
            out += &format!("<li><a href=\"#{id}\">{}</a></li>\n", escape(title));
        }
        out += "</ul>\n";
    }
    out + "<h2><a href=\"#failures\">Failures</a></h2>\n<h2><a href=\"#shapes\">Shapes</a></h2>\n"
}

fn introduction(document: &Value, title: &str) -> String {
    let info = &document["info"];
    format!(
        "<header id=\"top\">\n<h1>{title} API</h1>\n{}<p>As a document for machines: \
         <a href=\"/v1/openapi.json\"><code>/v1/openapi.json</code></a> ({}).</p>\n\
         <p>The examples take the server's address and a key from the environment:</p>\n<pre>{}</pre>\n</header>\n",
        prose(text(info, "description")),
        format_args!("OpenAPI {}", text(document, "openapi")),
        "export ATOLL_URL=http://127.0.0.1:7070\nexport ATOLL_API_KEY=$(sudo cat /var/lib/atoll/api-key)",
    )
}

fn chapter(document: &Value, (tag, operations): &Chapter<'_>) -> String {
    let tags = document["tags"].as_array().into_iter().flatten();
    let about =
        tags.filter(|it| it["name"] == *tag).map(|it| prose(text(it, "description"))).collect::<String>();
    let sections = operations
        .iter()
        .map(|(path, method)| operation::section(document, path, method))
        .collect::<String>();
    format!(
        "<section class=\"chapter\" id=\"{}\">\n<h2>{tag}</h2>\n{about}{sections}</section>\n",
        anchor(tag)
    )
}

/// All failures and shapes, each once.
fn shapes(document: &Value) -> String {
    let mut out = String::from("<section class=\"chapter\" id=\"failures\">\n<h2>Failures</h2>\n");
    out += "<p>Every failure has the body <a href=\"#shape-ErrorBody\">ErrorBody</a>.</p>\n<dl class=\"failures\">\n";
    let codes = operation::failures(document);
    for (status, failure) in codes {
        out += &format!("<dt id=\"failure-{status}\">{}</dt><dd>", operation::pill(&status));
        out += &prose(text(failure, "description"));
        let codes = failure["x-codes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let codes: Vec<String> = codes.map(|code| format!("<code>{code}</code>")).collect();
        out += &format!("<p class=\"kind\">code: {}</p>\n", codes.join(", "));
        let example = &failure["content"]["application/json"]["example"];
        out += &format!("<pre>{}</pre></dd>\n", escape(&html::json(example)));
    }
    out += "</dl>\n</section>\n<section class=\"chapter\" id=\"shapes\">\n<h2>Shapes</h2>\n";
    for (name, shape) in document["components"]["schemas"].as_object().into_iter().flatten() {
        out += &format!(
            "<article class=\"shape\" id=\"shape-{name}\">\n<h3><a href=\"#shape-{name}\">{name}</a></h3>\n"
        );
        out += &shape::full(shape);
        out += "</article>\n";
    }
    out + "</section>\n"
}

fn anchor(tag: &str) -> String {
    tag.to_lowercase().replace(' ', "-")
}

/// A text field of an object; nothing if it has none.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
