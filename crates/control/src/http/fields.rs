//! A JSON object taken apart field by field, so that one answer names everything that is wrong with it.
//!
//! `null` is the same as absent; fields nobody asks for are ignored.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};
use wire::public::error::FieldError;
use wire::sandbox::limits;

use crate::error::{Error, Result};

/// An object, and what was found wrong with it so far.
pub struct Fields {
    object: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// The object in these bytes; none at all are an empty one.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let object = if bytes.trim_ascii().is_empty() {
            Map::new()
        } else {
            serde_json::from_slice::<Map<String, Value>>(bytes)
                .map_err(|error| Error::Body(format!("the body must be a JSON object: {error}")))?
        };
        Ok(Self::of(object))
    }

    /// This object.
    pub fn of(object: Map<String, Value>) -> Self {
        Self { object, errors: Vec::new() }
    }

    /// The whole object, in one form for all equal ones.
    pub fn canonical(&self) -> String {
        Value::Object(self.object.clone()).to_string()
    }

    /// Whether a field is there.
    pub fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether a field is there and `null`, where that is more than absent.
    pub fn is_null(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(Value::is_null)
    }

    /// The names of what has not been taken out.
    pub fn left(&self) -> Vec<String> {
        self.object.keys().cloned().collect()
    }

    /// Takes a field out, whatever it is.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// Notes that a field is wrong.
    pub fn wrong(&mut self, field: impl Into<String>, error: impl Into<String>) {
        self.errors.push(FieldError { field: field.into(), error: error.into() });
    }

    /// A text.
    pub fn string(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => self.mistyped(name, "a string", &other),
        }
    }

    /// A truth value.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(truth) => Some(truth),
            other => self.mistyped(name, "true or false", &other),
        }
    }

    /// A whole number in a range.
    pub fn integer(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.take(name)?;
        let fits = value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| range.contains(number));
        if fits.is_none() {
            let wanted = format!("a whole number from {} to {}", range.start(), range.end());
            return self.mistyped(name, &wanted, &value);
        }
        fits
    }

    /// A whole number that is not negative.
    pub fn count(&mut self, name: &str) -> Option<u64> {
        let value = self.take(name)?;
        value.as_u64().or_else(|| self.mistyped(name, "a whole number from 0", &value))
    }

    /// A list of texts.
    pub fn strings(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.take(name)?;
        let items = value
            .as_array()
            .and_then(|items| items.iter().map(|item| Some(item.as_str()?.to_owned())).collect());
        items.or_else(|| self.mistyped(name, "a list of strings", &value))
    }

    /// An object inside this one. What is wrong with it is noted by [`Fields::absorb`].
    pub fn object(&mut self, name: &str) -> Option<Fields> {
        match self.take(name)? {
            Value::Object(object) => Some(Self::of(object)),
            other => self.mistyped(name, "an object", &other),
        }
    }

    /// A list of objects, so many; it has to be there.
    pub fn objects(&mut self, name: &str, count: RangeInclusive<usize>) -> Option<Vec<Fields>> {
        let wrap = |item| match item {
            Value::Object(object) => Some(Self::of(object)),
            _ => None,
        };
        let items: Option<Vec<_>> = match self.take(name) {
            Some(Value::Array(items)) => items.into_iter().map(wrap).collect(),
            _ => None,
        };
        let items = items.filter(|items| count.contains(&items.len()));
        if items.is_none() {
            self.wrong(name, format!("must be a list of {} to {} objects", count.start(), count.end()));
        }
        items
    }

    /// Notes what is wrong with an object that was inside this one.
    pub fn absorb(&mut self, name: &str, inner: Fields) {
        let errors = inner.errors.into_iter();
        self.errors
            .extend(errors.map(|wrong| FieldError { field: format!("{name}.{}", wrong.field), ..wrong }));
    }

    /// Notes what is wrong with an object that stood for some of these fields.
    pub fn adopt(&mut self, other: Fields) {
        self.errors.extend(other.errors);
    }

    /// An environment, within its limits.
    pub fn environment(&mut self, name: &str) -> Option<BTreeMap<String, String>> {
        let Value::Object(object) = self.take(name)? else {
            self.wrong(name, "must be an object of strings");
            return None;
        };
        let mut environment = BTreeMap::new();
        for (variable, value) in object {
            match value {
                Value::String(text) if is_variable(&variable) && !text.contains('\0') => {
                    environment.insert(variable, text);
                }
                Value::String(_) => {
                    self.wrong(
                        format!("{name}.{variable}"),
                        "must have a name without `=`, and no NUL in name or value",
                    );
                }
                other => {
                    self.mistyped::<()>(&format!("{name}.{variable}"), "a string", &other);
                }
            }
        }
        self.check_environment_size(name, &environment);
        Some(environment)
    }

    fn check_environment_size(&mut self, name: &str, environment: &BTreeMap<String, String>) {
        if environment.len() > limits::ENV_VARS_MAX {
            self.wrong(name, format!("must have at most {} variables", limits::ENV_VARS_MAX));
        }
        let bytes: usize = environment.iter().map(|(variable, value)| variable.len() + value.len()).sum();
        if bytes > limits::ENV_BYTES_MAX {
            self.wrong(name, format!("must be at most {} bytes in all", limits::ENV_BYTES_MAX));
        }
    }

    /// What people call something, with so many characters; it has to be there.
    pub fn required_name(&mut self, name: &str, chars: RangeInclusive<usize>) -> String {
        let is_there = self.has(name);
        let value = self.name(name, chars);
        if !is_there {
            self.wrong(name, "is required");
        }
        value.unwrap_or_default()
    }

    /// What people call something, with so many characters and no space around it.
    pub fn name(&mut self, name: &str, chars: RangeInclusive<usize>) -> Option<String> {
        let value = self.string(name)?.trim().to_owned();
        if !chars.contains(&value.chars().count()) || value.chars().any(char::is_control) {
            let (least, most) = (chars.start(), chars.end());
            self.wrong(
                name,
                format!("must be {least} to {most} characters, none of them a control character"),
            );
        }
        Some(value)
    }

    /// A path in a sandbox that has to be there.
    pub fn required_path(&mut self, name: &str) -> String {
        let path = self.path(name);
        if path.is_none() && !self.errors.iter().any(|error| error.field == name) {
            self.wrong(name, "is required");
        }
        path.unwrap_or_default()
    }

    /// Paths in a sandbox: at least one, and so many at most.
    pub fn required_paths(&mut self, name: &str, paths_max: usize) -> Vec<String> {
        let is_there = self.has(name);
        let paths = self.strings(name);
        if !is_there || paths.as_ref().is_some_and(|paths| !(1..=paths_max).contains(&paths.len())) {
            self.wrong(name, format!("must be a list of 1 to {paths_max} paths"));
        }
        let paths = paths.unwrap_or_default();
        for (index, error) in
            paths.iter().enumerate().filter_map(|(index, path)| Some((index, path_error(path)?)))
        {
            self.wrong(format!("{name}.{index}"), error);
        }
        paths
    }

    /// A path in a sandbox.
    pub fn path(&mut self, name: &str) -> Option<String> {
        let path = self.string(name)?;
        match path_error(&path) {
            None => Some(path),
            Some(error) => {
                self.wrong(name, error);
                None
            }
        }
    }

    /// Nothing, if all was well.
    pub fn finish(self) -> Result<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(Error::Fields(self.errors)) }
    }

    fn mistyped<T>(&mut self, name: &str, wanted: &str, got: &Value) -> Option<T> {
        self.wrong(name, format!("must be {wanted}, not {}", kind(got)));
        None
    }
}

/// What is wrong with a path, if anything is.
pub fn path_error(path: &str) -> Option<String> {
    if path.is_empty() || path.contains('\0') {
        Some("must not be empty or contain NUL".into())
    } else if path.len() > limits::PATH_BYTES_MAX {
        Some(format!("must be at most {} bytes", limits::PATH_BYTES_MAX))
    } else {
        None
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "true or false".into(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "a string".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(json: &str) -> Fields {
        Fields::parse(json.as_bytes()).unwrap()
    }

    fn names(fields: Fields) -> Vec<String> {
        match fields.finish() {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let mut fields =
            fields(r#"{"a": 1, "b": "x", "c": 9, "d": 1.5, "e": {"K": 1, "A=B": "x", "ok": "y"}, "f": [1]}"#);
        assert_eq!(fields.string("a"), None);
        assert_eq!(fields.boolean("b"), None);
        assert_eq!(fields.integer("c", 1..=8), None);
        assert_eq!(fields.integer("d", 1..=8), None);
        assert!(fields.environment("e").is_some());
        assert_eq!(fields.strings("f"), None);
        assert_eq!(names(fields), ["a", "b", "c", "d", "e.A=B", "e.K", "f"]);
    }

    #[test]
    fn null_is_absent_and_nothing_is_an_empty_object() {
        for mut fields in [fields(r#"{"a": null}"#), fields(""), fields(" \n")] {
            assert_eq!(fields.string("a"), None);
            assert!(fields.finish().is_ok());
        }
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for json in ["[]", "1", "{", "\"x\"", "{\"a\": \u{1}}"] {
            assert!(matches!(Fields::parse(json.as_bytes()), Err(Error::Body(_))), "{json}");
        }
    }

    #[test]
    fn an_environment_has_limits() {
        let many: Map<String, Value> =
            (0..=limits::ENV_VARS_MAX).map(|i| (format!("V{i}"), "x".into())).collect();
        let long = Map::from_iter([("V".to_owned(), Value::from("x".repeat(limits::ENV_BYTES_MAX)))]);
        for environment in [many, long] {
            let mut fields = fields(&serde_json::json!({ "e": environment }).to_string());
            fields.environment("e");
            assert_eq!(names(fields), ["e"]);
        }
    }

    #[test]
    fn the_order_of_fields_does_not_change_the_canonical_form() {
        assert_eq!(fields(r#"{"a": 1, "b": [2]}"#).canonical(), fields(r#"{ "b":[2],"a":1}"#).canonical());
        assert_ne!(fields(r#"{"a": 1}"#).canonical(), fields(r#"{"a": 2}"#).canonical());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = Fields::parse(&bytes);
        }
    }
}
