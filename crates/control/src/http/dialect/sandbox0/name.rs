//! Ids of templates, which are the names our own API gives them.
//!
//! Whoever makes one here gets it trimmed and in lower case. One that has capitals, since it was made by our own API,
//! is found by its name as it is.

use std::ops::RangeInclusive;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::super::super::extract::in_path;
use super::super::super::fields::Fields;
use super::envelope::Refusal;

/// Characters of an id.
const CHARS: RangeInclusive<usize> = 1..=255;

/// The id in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names it may mean, the likeliest first. What could not be shown is not found either.
    pub fn meanings(&self) -> Vec<String> {
        let lower = self.0.to_lowercase();
        let mut all = vec![self.0.clone()];
        if lower != self.0 {
            all.push(lower);
        }
        all.retain(|name| is_shown(name));
        all
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        Ok(Self(in_path(parts, state, "id", "template").await?.trim().to_owned()))
    }
}

/// Whether a template of this name has an id here: a path could not hold one with a slash.
pub fn is_shown(name: &str) -> bool {
    !name.is_empty() && !name.contains('/')
}

/// The id of a template to be made, in its canonical form.
pub fn read(fields: &mut Fields) -> String {
    let is_there = fields.has("template_id");
    let given = fields.string("template_id").unwrap_or_default();
    let name = given.trim().to_lowercase();
    if !is_there {
        fields.wrong("template_id", "is required");
    } else if !CHARS.contains(&name.chars().count()) {
        let (least, most) = (CHARS.start(), CHARS.end());
        fields.wrong("template_id", format!("must be {least} to {most} characters"));
    } else if name.contains('/') || name.chars().any(char::is_control) {
        fields.wrong("template_id", "must have no `/` and no control characters");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(given: Value, expect: Option<&str>) {
        let mut fields = Fields::parse(json!({ "template_id": given }).to_string().as_bytes()).unwrap();
        let name = read(&mut fields);
        let read = fields.finish().is_ok().then_some(name);
        assert_eq!(read.as_deref(), expect, "{given}");
    }

    #[test]
    fn an_id_is_trimmed_in_lower_case_and_bounded() {
        check(json!("  My-Env "), Some("my-env"));
        check(json!("ÄÖ with space"), Some("äö with space"));
        check(json!("x".repeat(255)), Some(&"x".repeat(255)));
        for wrong in [json!(null), json!(""), json!("  "), json!("x".repeat(256)), json!(1)] {
            check(wrong, None);
        }
        check(json!("a/b"), None);
        check(json!("a\u{7}b"), None);
    }

    #[test]
    fn a_path_means_the_name_as_it_is_or_else_in_lower_case() {
        let meanings = |text: &str| Name(text.to_owned()).meanings();
        assert_eq!(meanings("My"), ["My", "my"]);
        assert_eq!(meanings("my"), ["my"]);
        assert!(meanings("system/debian:bookworm").is_empty());
        assert!(meanings("").is_empty());
    }
}
