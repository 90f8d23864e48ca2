//! Shapes as people read them.

use serde_json::{Map, Value};

use super::html::{escape, inline, prose};
use super::text;

/// A shape with its fields, or with its variants.
pub fn full(shape: &Value) -> String {
    let mut out = prose(text(shape, "description"));
    if let Some(variants) = shape["oneOf"].as_array() {
        for variant in variants {
            match variant.get("$ref") {
                Some(_) => out += &format!("<p class=\"variant\">{}</p>\n", kind(variant)),
                None => out += &format!("<div class=\"variant\">{}</div>\n", full(variant)),
            }
        }
    } else if shape["properties"].is_object() {
        out += &fields(shape);
    } else {
        out += &format!("<p class=\"kind\">{}</p>\n", kind(shape));
    }
    out
}

/// The fields of an object, the required ones first.
pub fn fields(shape: &Value) -> String {
    let required: Vec<&str> =
        shape["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let none = Map::new();
    let properties = shape["properties"].as_object().unwrap_or(&none);
    let is_required = |name: &str| required.contains(&name);
    let (first, rest): (Vec<_>, Vec<_>) = properties.iter().partition(|(name, _)| is_required(name));
    let rows = first.into_iter().chain(rest).map(|(name, field)| row(name, is_required(name), field));
    format!("<dl class=\"fields\">\n{}</dl>\n", rows.collect::<String>())
}

/// A name, what it is, and what is said about it.
pub fn row(name: &str, required: bool, shape: &Value) -> String {
    let mark = if required { " <span class=\"required\">required</span>" } else { "" };
    let says = prose(text(shape, "description"));
    let shape = &if required { shape.clone() } else { without_null(shape) };
    format!(
        "<dt><code>{}</code> <span class=\"kind\">{}</span>{mark}</dt>\n<dd>{says}</dd>\n",
        escape(name),
        kind(shape)
    )
}

/// A shape of a field that may be absent: that `null` is the same is said once for all of them.
fn without_null(shape: &Value) -> Value {
    let mut shape = shape.clone();
    for field in ["type", "enum", "anyOf"] {
        if let Some(items) = shape[field].as_array_mut() {
            items.retain(|item| !item.is_null() && item != "null" && item["type"] != "null");
        } else if shape[field].is_null() {
            shape.as_object_mut().map(|fields| fields.remove(field));
        }
    }
    shape
}

/// What a value is, and its bounds.
pub fn kind(shape: &Value) -> String {
    let bounds = bounds(shape);
    let separator = if bounds.is_empty() { "" } else { ", " };
    format!("{}{separator}{bounds}", base(shape))
}

fn base(shape: &Value) -> String {
    if let Some(name) = shape["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=\"#shape-{name}\">{name}</a>");
    }
    for several in ["anyOf", "oneOf"] {
        if let Some(shapes) = shape[several].as_array() {
            return shapes.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(words) = shape["enum"].as_array() {
        return words.iter().map(literal).collect::<Vec<_>>().join(" | ");
    }
    if shape.get("const").is_some() {
        return literal(&shape["const"]);
    }
    let item = |field: &str| shape.get(field).filter(|item| item.is_object()).map(kind);
    let one = |kind: &str| match kind {
        "array" => item("items").map_or_else(|| "array".into(), |item| format!("array of {item}")),
        "object" => {
            item("additionalProperties").map_or_else(|| "object".into(), |item| format!("object of {item}"))
        }
        other => other.to_owned(),
    };
    match &shape["type"] {
        Value::String(kind) => one(kind),
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).map(one).collect::<Vec<_>>().join(" or ")
        }
        _ => "anything".into(),
    }
}

fn bounds(shape: &Value) -> String {
    let mut out = Vec::new();
    let range = |low: &str, high: &str| match (shape.get(low), shape.get(high)) {
        (Some(low), Some(high)) => Some(format!("{low} to {high}")),
        (Some(low), None) => Some(format!("at least {low}")),
        (None, Some(high)) => Some(format!("at most {high}")),
        (None, None) => None,
    };
    out.extend(range("minimum", "maximum"));
    out.extend(range("minLength", "maxLength").map(|range| format!("{range} characters")));
    out.extend(range("minItems", "maxItems").map(|range| format!("{range} items")));
    out.extend(range("minProperties", "maxProperties").map(|range| format!("{range} names")));
    out.extend(shape.get("multipleOf").map(|factor| format!("a multiple of {factor}")));
    out.extend(shape["format"].as_str().filter(|format| !format.contains("int")).map(escape));
    out.extend(shape["contentEncoding"].as_str().map(escape));
    out.extend(shape["pattern"].as_str().and_then(pattern));
    out.extend(shape.get("default").map(|value| format!("default {}", literal(value))));
    out.join(", ")
}

/// A pattern, unless words say it better.
fn pattern(pattern: &str) -> Option<String> {
    match pattern {
        r"^[^\u0000]*$" => Some("without NUL".into()),
        r"\S" => None,
        _ => Some(inline(&format!("`{pattern}`"))),
    }
}

fn literal(value: &Value) -> String {
    format!("<code>{}</code>", escape(&value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_kind_has_its_bounds() {
        let shape = json!({ "type": ["integer", "null"], "minimum": 1, "maximum": 8, "default": 1 });
        assert_eq!(kind(&shape), "integer or null, 1 to 8, default <code>1</code>");
        let shape = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Leak" } });
        assert_eq!(kind(&shape), "array of <a href=\"#shape-Leak\">Leak</a>");
        assert_eq!(kind(&json!({ "enum": ["a", null] })), "<code>&quot;a&quot;</code> | <code>null</code>");
        assert_eq!(kind(&json!({})), "anything");
    }

    #[test]
    fn that_an_absent_field_may_be_null_is_not_repeated() {
        let shape = json!({ "type": ["string", "null"], "enum": ["a", null] });
        assert_eq!(without_null(&shape), json!({ "type": ["string"], "enum": ["a"] }));
        assert_eq!(without_null(&json!({ "$ref": "x" })), json!({ "$ref": "x" }));
    }

    #[test]
    fn required_fields_come_first() {
        let shape = json!({ "properties": { "a": {}, "b": {} }, "required": ["b"] });
        let html = fields(&shape);
        assert!(html.find("<code>b</code>") < html.find("<code>a</code>"), "{html}");
    }
}
