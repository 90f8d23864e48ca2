//! An operation as a command that can be pasted.

use serde_json::Value;

use super::text;

/// The command that carries out the operation's example.
pub fn command(path: &str, method: &str, operation: &Value) -> String {
    let url = format!("$ATOLL_URL{}", url(path, operation));
    if operation["responses"].get("101").is_some() {
        let socket = url.replace("$ATOLL_URL", "${ATOLL_URL/http/ws}");
        return format!("websocat --binary -H \"Authorization: Bearer $ATOLL_API_KEY\" \\\n  \"{socket}\"");
    }
    let mut lines = vec![format!("curl{} \"{url}\"", flags(method, operation))];
    if operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty()) {
        lines.push("-H \"Authorization: Bearer $ATOLL_API_KEY\"".into());
    }
    lines.extend(body(operation));
    lines.join(" \\\n  ")
}

/// The method where it is not what `curl` takes anyway, and no buffering where the answer is a stream.
fn flags(method: &str, operation: &Value) -> String {
    let is_stream =
        operation.pointer("/responses/200/content").and_then(Value::as_object).is_some_and(|content| {
            content.contains_key("text/event-stream") || content.contains_key("application/x-ndjson")
        });
    let has_body = operation.get("requestBody").is_some();
    let method = match (method, has_body) {
        ("get", _) | ("post", true) => String::new(),
        (method, _) => format!(" -X {}", method.to_uppercase()),
    };
    format!("{}{method}", if is_stream { " -N" } else { "" })
}

fn url(path: &str, operation: &Value) -> String {
    let mut url = path.to_owned();
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let (name, example) = (text(parameter, "name"), word(&parameter["example"]));
        match text(parameter, "in") {
            "path" => url = url.replace(&format!("{{{name}}}"), &encode(&example)),
            "query" if !parameter["example"].is_null() => query.push(format!("{name}={}", encode(&example))),
            _ => {}
        }
    }
    if query.is_empty() { url } else { format!("{url}?{}", query.join("&")) }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/:".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn body(operation: &Value) -> Vec<String> {
    let Some(content) = operation.pointer("/requestBody/content").and_then(Value::as_object) else {
        return Vec::new();
    };
    let Some((kind, content)) = content.iter().next() else { return Vec::new() };
    match kind.as_str() {
        "application/json" => {
            let json = content["example"].to_string().replace('\'', r"'\''");
            vec!["-H 'Content-Type: application/json'".into(), format!("-d '{json}'")]
        }
        "multipart/form-data" => vec!["-F '/workspace/hello.txt=@hello.txt;filename=upload'".into()],
        kind => vec![format!("-H 'Content-Type: {kind}'"), "--data-binary @hello.txt".into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_command_has_the_path_the_key_and_the_body_of_the_example() {
        let operation = json!({
            "security": [{ "bearer": [] }],
            "parameters": [{ "in": "path", "name": "id", "example": "a b" }, { "in": "query", "name": "q", "example": "/x" }],
            "requestBody": { "content": { "application/json": { "example": { "say": "it's" } } } },
            "responses": { "200": { "content": { "text/event-stream": {} } } },
        });
        let expect = "curl -N \"$ATOLL_URL/v1/x/a%20b?q=/x\" \\\n  -H \"Authorization: Bearer $ATOLL_API_KEY\" \\\n  \
                      -H 'Content-Type: application/json' \\\n  -d '{\"say\":\"it'\\''s\"}'";
        assert_eq!(command("/v1/x/{id}", "post", &operation), expect);
    }

    #[test]
    fn a_method_is_named_where_curl_would_take_another() {
        let open = json!({ "security": [], "responses": {} });
        assert_eq!(command("/x", "get", &open), "curl \"$ATOLL_URL/x\"");
        assert_eq!(command("/x", "delete", &open), "curl -X DELETE \"$ATOLL_URL/x\"");
        assert_eq!(command("/x", "post", &open), "curl -X POST \"$ATOLL_URL/x\"");
    }
}
