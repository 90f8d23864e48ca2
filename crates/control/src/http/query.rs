//! Query strings, form-encoded: `+` is a space, `%2F` a slash. Bytes that are not UTF-8 are an error, never replaced.

use std::str::FromStr;

use wire::public::error::FieldError;
use wire::public::limits::{PAGE_MAX, PAGE_SIZE, PAGE_SIZE_MAX};

use crate::error::{Error, Result};
use crate::store::Paging;

/// A query string taken apart, and what was found wrong with it so far.
pub struct Query {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Query {
    /// The pairs of a query string, which may be absent.
    pub fn parse(query: Option<&str>) -> Result<Self> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| Error::field("query", "has a name that is not UTF-8"))?;
            let value = decode(value).ok_or_else(|| Error::field(&name, "must be percent-encoded UTF-8"))?;
            Ok((name, value))
        });
        Ok(Self { pairs: decoded.collect::<Result<_>>()?, errors: Vec::new() })
    }

    /// A parameter. One that is there several times counts once, and the first is taken.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that can be read as something; `wanted` says what, for people.
    pub fn read<T>(&mut self, name: &str, wanted: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let value = read(text);
        if value.is_none() {
            let error = format!("must be {wanted}, not {text:?}");
            self.errors.push(FieldError { field: name.to_owned(), error });
        }
        value
    }

    /// A number in a range.
    pub fn number(&mut self, name: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(name, &wanted, |text| u32::from_str(text).ok().filter(|number| range.contains(number)))
    }

    /// Whether a list is wanted with its first end first; the last, unless it is said.
    pub fn ascending(&mut self) -> bool {
        let ascending = self.read("order-by", "asc or desc", |text| match text {
            "asc" => Some(true),
            "desc" => Some(false),
            _ => None,
        });
        ascending.unwrap_or(false)
    }

    /// Which part of a list is wanted.
    pub fn paging(&mut self) -> Paging {
        let page = self.number("page", 1..=PAGE_MAX).unwrap_or(1);
        let page_size = self.number("page-size", 1..=PAGE_SIZE_MAX).unwrap_or(PAGE_SIZE);
        Paging { page, page_size }
    }

    /// Nothing, if all was well.
    pub fn finish(self) -> Result<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(Error::Fields(self.errors)) }
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, tail @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push(hex(*high)? << 4 | hex(*low)?);
                rest = tail;
            }
            (other, _) => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(query: &str, expect: Option<&str>) {
        assert_eq!(
            Query::parse(Some(query)).ok().and_then(|q| q.text("path").map(str::to_owned)).as_deref(),
            expect,
            "{query}"
        );
    }

    #[test]
    fn queries_are_form_encoded() {
        check("path=%2Ftmp%2Fa+b", Some("/tmp/a b"));
        check("path=/tmp/a%2Bb", Some("/tmp/a+b"));
        check("x=1&path=%C3%A9", Some("é"));
        check("path=100%", Some("100%"));
        check("path=%zz", Some("%zz"));
        check("path", Some(""));
        check("path=a&path=b", Some("a"));
        check("", None);
        check("path=%FF", None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(query: String) {
            let _ = Query::parse(Some(&query));
        }

        #[test]
        fn every_text_survives_the_encoding(text: String) {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let query = Query::parse(Some(&format!("v={encoded}"))).unwrap();
            prop_assert_eq!(query.text("v"), Some(text.as_str()));
        }
    }
}
