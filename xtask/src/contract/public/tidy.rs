//! Makes generated shapes pleasant for people and for generators of clients.

use serde_json::{Map, Value, json};

use super::schemas::PLACE;

/// Calls `change` with every text that is a value, at any depth.
pub fn each_text(value: &mut Value, change: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_text(field, change)),
        _ => {}
    }
}

/// Calls `change` with every object, those within before those around.
fn each_object(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each_object(item, change)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| each_object(field, change));
            change(fields);
        }
        _ => {}
    }
}

/// What all shapes have done to them.
pub fn shape(shape: &mut Value) {
    each_object(shape, &mut |object| {
        words_of_enum(object);
        if object.get("default").is_some_and(Value::is_null) {
            object.remove("default");
        }
        if let Some(Value::String(text)) = object.get_mut("description") {
            *text = prose(text);
        }
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            properties
                .values_mut()
                .filter(|property| **property == Value::Bool(true))
                .for_each(|any| *any = json!({}));
        }
    });
}

/// Fields that need not be there are absent, never `null`.
pub fn forbid_null(shape: &mut Value) {
    each_object(shape, &mut |object| {
        let required = object.get("required").cloned().unwrap_or_default();
        let is_required =
            |name: &str| required.as_array().is_some_and(|names| names.iter().any(|it| it == name));
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            for (_, property) in properties.iter_mut().filter(|(name, _)| !is_required(name)) {
                take_null_out(property);
            }
        }
    });
}

fn take_null_out(property: &mut Value) {
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            property["type"] = only.clone();
        }
    }
    if let Some(Value::Array(shapes)) = property.get_mut("anyOf") {
        shapes.retain(|shape| shape.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = shapes.as_slice() {
            let only = only.clone();
            if let Some(fields) = property.as_object_mut() {
                fields.remove("anyOf");
                fields.extend(only);
            }
        }
    }
}

/// `oneOf` words that each have a description become an `enum` whose description lists them.
fn words_of_enum(object: &mut Map<String, Value>) {
    let Some(Value::Array(words)) = object.get("oneOf") else { return };
    let described: Option<Vec<(String, String)>> = words
        .iter()
        .map(|word| {
            Some((word.get("const")?.as_str()?.to_owned(), word.get("description")?.as_str()?.to_owned()))
        })
        .collect();
    let Some(described) = described else { return };
    let mut text = object.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    text.push('\n');
    for (word, says) in &described {
        text.push_str(&format!("\n- `{word}`: {says}"));
    }
    let words: Vec<&String> = described.iter().map(|(word, _)| word).collect();
    object.insert("enum".into(), json!(words));
    object.insert("type".into(), "string".into());
    object.insert("description".into(), text.trim().into());
    object.remove("oneOf");
}

/// Doc comments without what only Rust's documentation can show.
pub fn prose(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((name, after)) = after.split_once("`]") else { break };
        out.push_str(before);
        out.push_str(&format!("`{}`", name.replace("::", ".")));
        rest = after;
    }
    out.push_str(rest);
    unwrap_lines(&out)
}

/// Lines of one paragraph become one; paragraphs and lists stay.
fn unwrap_lines(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let begins_anew = line.is_empty() || line.starts_with("- ") || out.is_empty() || out.ends_with('\n');
        if begins_anew {
            if line.starts_with("- ") && !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            out.push_str(line);
            if line.is_empty() {
                out.push_str("\n\n");
            }
        } else {
            out.push(' ');
            out.push_str(line);
        }
    }
    out.replace("\n\n\n", "\n\n").trim().to_owned()
}

/// Shapes that are one of several, told apart by a field that is one word: each gets a name of its own, and the field
/// is said to be the one that tells. What is common to all is moved into each.
pub fn name_variants(shapes: &mut Map<String, Value>) {
    let names: Vec<String> = shapes.keys().cloned().collect();
    for name in names {
        let Some(Value::Array(variants)) = shapes[&name].get("oneOf").cloned() else { continue };
        let Some((field, words)) = discriminator(&variants) else { continue };
        let common = shapes[&name].clone();
        let mut references = Vec::new();
        let mut mapping = Map::new();
        for (mut variant, word) in variants.into_iter().zip(words) {
            add_common(&mut variant, &common);
            let own_name = format!("{name}{}", pascal(&word));
            let reference = format!("{PLACE}{own_name}");
            references.push(json!({ "$ref": reference }));
            mapping.insert(word, reference.into());
            shapes.insert(own_name, variant);
        }
        let description = common.get("description").cloned().unwrap_or_default();
        shapes[&name] = json!({
            "description": description,
            "oneOf": references,
            "discriminator": { "propertyName": field, "mapping": mapping },
        });
    }
}

/// The field that has another fixed word in each variant, and the words.
fn discriminator(variants: &[Value]) -> Option<(String, Vec<String>)> {
    let fields = variants.first()?.get("properties")?.as_object()?.keys();
    fields.clone().find_map(|field| {
        let word = |variant: &Value| {
            Some(variant.pointer(&format!("/properties/{field}/const"))?.as_str()?.to_owned())
        };
        Some((field.clone(), variants.iter().map(word).collect::<Option<Vec<_>>>()?))
    })
}

fn add_common(variant: &mut Value, common: &Value) {
    if let (Some(own), Some(shared)) =
        (variant["properties"].as_object_mut(), common.get("properties").and_then(Value::as_object))
    {
        own.extend(shared.clone());
    }
    if let (Some(own), Some(shared)) =
        (variant["required"].as_array_mut(), common.get("required").and_then(Value::as_array))
    {
        own.extend(shared.clone());
    }
}

fn pascal(word: &str) -> String {
    let upper = |part: &str| part.get(..1).map(|first| first.to_uppercase() + &part[1..]).unwrap_or_default();
    word.split(['_', '-']).map(upper).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_becomes_prose() {
        assert_eq!(prose("As in [`Executed::exit_code`]\nand more."), "As in `Executed.exit_code` and more.");
        assert_eq!(prose("One.\n\nTwo\nlines.\n- a\n- b"), "One.\n\nTwo lines.\n- a\n- b");
    }

    #[test]
    fn words_with_a_description_become_an_enum() {
        let mut shape = json!({ "description": "Kinds.", "oneOf": [
            { "const": "a", "type": "string", "description": "First." },
            { "const": "b", "type": "string", "description": "Second." },
        ] });
        super::shape(&mut shape);
        let expect = json!({ "type": "string", "enum": ["a", "b"],
            "description": "Kinds.\n\n- `a`: First.\n- `b`: Second." });
        assert_eq!(shape, expect);
    }

    #[test]
    fn an_optional_field_is_not_null_and_a_required_one_may_be() {
        let both = json!({ "type": ["string", "null"] });
        let mut shape = json!({ "properties": { "a": both, "b": both }, "required": ["b"] });
        forbid_null(&mut shape);
        assert_eq!(shape["properties"], json!({ "a": { "type": "string" }, "b": both }));
        let mut shape = json!({ "properties": { "a": { "anyOf": [{ "$ref": "x" }, { "type": "null" }] } } });
        forbid_null(&mut shape);
        assert_eq!(shape["properties"]["a"], json!({ "$ref": "x" }));
    }

    #[test]
    fn variants_get_names_and_what_is_common_to_them() {
        let variant = |word: &str| json!({ "type": "object", "properties": { "type": { "const": word } }, "required": ["type"] });
        let event = json!({ "description": "An event.", "oneOf": [variant("it_began"), variant("ended")],
            "properties": { "seq": { "type": "integer" } }, "required": ["seq"] });
        let mut shapes = Map::from_iter([("Event".to_owned(), event)]);
        name_variants(&mut shapes);
        assert_eq!(shapes["EventItBegan"]["required"], json!(["type", "seq"]));
        assert_eq!(shapes["Event"]["discriminator"]["mapping"]["ended"], "#/components/schemas/EventEnded");
        assert_eq!(shapes["Event"]["oneOf"].as_array().map(Vec::len), Some(2));
    }
}
