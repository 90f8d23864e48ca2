//! `multipart/form-data` (RFC 7578) as it arrives: parts of any size, taken apart without being held.
//!
//! Pure: bytes are fed in, cut anyhow, and parts come out.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

/// The headers of one part, in bytes, at most: room for the longest path, escaped.
pub const PART_HEADERS_BYTES_MAX: usize = 32 * 1024;
/// What stands before the first part, in bytes, at most.
pub const PREAMBLE_BYTES_MAX: usize = 4 * 1024;
/// A boundary, in characters (RFC 2046).
const BOUNDARY_CHARS_MAX: usize = 70;

/// Something in a multipart body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins; it has this field name.
    Part(String),
    /// Bytes of it.
    Data(Bytes),
    /// It has ended.
    PartEnd,
    /// The last part has ended.
    End,
}

/// Why a body is not `multipart/form-data`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The content type names no boundary.
    #[error("the content type must be `multipart/form-data; boundary=…`")]
    NoBoundary,
    /// There is no part where one should begin.
    #[error("the body does not begin with the boundary that its content type names")]
    NoPart,
    /// A boundary goes on with something that it cannot.
    #[error("a boundary in the body is followed by neither a line's end nor `--`")]
    Boundary,
    /// The headers of a part are too long.
    #[error("the headers of a part are longer than {PART_HEADERS_BYTES_MAX} bytes")]
    HeadersTooLong,
    /// A part has no name.
    #[error("a part has no `Content-Disposition: form-data; name=\"…\"` in UTF-8")]
    NoName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    /// Behind a boundary.
    Boundary,
    Headers,
    Data,
    /// All of a part's data has been given.
    DataEnd,
    End,
}

/// Takes a body apart.
#[derive(Debug)]
pub struct Parser {
    /// What stands before every part but the first: a line's end, and the boundary.
    delimiter: Vec<u8>,
    input: BytesMut,
    state: State,
}

impl Parser {
    /// For a body of this content type.
    pub fn new(content_type: &str) -> Result<Self, Malformed> {
        let boundary = boundary(content_type).ok_or(Malformed::NoBoundary)?;
        // The first boundary has no line before it; with this one, it looks like the others.
        Ok(Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            input: BytesMut::from("\r\n"),
            state: State::Preamble,
        })
    }

    /// More of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        // What comes after the last part is for nobody.
        if self.state != State::End {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Whether the last part has ended.
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// What comes next, or `None` until more has been fed. Nothing comes after [`Event::End`].
    pub fn next_event(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            let (state, event) = match self.state {
                State::Preamble => match self.preamble()? {
                    true => (State::Boundary, None),
                    false => return Ok(None),
                },
                State::Boundary => match self.after_boundary()? {
                    Some(State::End) => (State::End, Some(Event::End)),
                    Some(state) => (state, None),
                    None => return Ok(None),
                },
                State::Headers => match self.headers()? {
                    Some(name) => (State::Data, Some(Event::Part(name))),
                    None => return Ok(None),
                },
                State::Data => match self.data() {
                    (None, State::Data) => return Ok(None),
                    (data, state) => (state, data.map(Event::Data)),
                },
                State::DataEnd => (State::Boundary, Some(Event::PartEnd)),
                State::End => return Ok(None),
            };
            self.state = state;
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Skips what stands before the first part. Whether there is one.
    fn preamble(&mut self) -> Result<bool, Malformed> {
        match memmem::find(&self.input, &self.delimiter) {
            Some(at) => {
                self.input.advance(at + self.delimiter.len());
                Ok(true)
            }
            None if self.input.len() > PREAMBLE_BYTES_MAX => Err(Malformed::NoPart),
            None => Ok(false),
        }
    }

    /// Whether a boundary is the last: it is followed by `--`.
    fn after_boundary(&mut self) -> Result<Option<State>, Malformed> {
        // White space may have been added on the way (RFC 2046, 5.1.1).
        let padding = self.input.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let Some(next) = self.input.get(padding..padding + 2) else {
            return if padding > BOUNDARY_CHARS_MAX { Err(Malformed::Boundary) } else { Ok(None) };
        };
        match next {
            b"\r\n" => {
                // The line's end stays: headers may be empty, and then it is half of what ends them.
                self.input.advance(padding);
                Ok(Some(State::Headers))
            }
            b"--" if padding == 0 => {
                self.input.clear();
                Ok(Some(State::End))
            }
            _ => Err(Malformed::Boundary),
        }
    }

    fn headers(&mut self) -> Result<Option<String>, Malformed> {
        match memmem::find(&self.input, b"\r\n\r\n") {
            Some(end) if end <= PART_HEADERS_BYTES_MAX => {
                let headers = self.input.split_to(end + 4);
                name(&headers).map(Some).ok_or(Malformed::NoName)
            }
            None if self.input.len() <= PART_HEADERS_BYTES_MAX => Ok(None),
            _ => Err(Malformed::HeadersTooLong),
        }
    }

    /// What is surely data, if any is, and whether it goes on.
    fn data(&mut self) -> (Option<Bytes>, State) {
        if let Some(end) = memmem::find(&self.input, &self.delimiter) {
            let data = self.input.split_to(end).freeze();
            self.input.advance(self.delimiter.len());
            return (Some(data).filter(|data| !data.is_empty()), State::DataEnd);
        }
        // The end may be the beginning of a delimiter.
        let sure = self.input.len().saturating_sub(self.delimiter.len() - 1);
        (Some(self.input.split_to(sure).freeze()).filter(|data| !data.is_empty()), State::Data)
    }
}

/// The boundary that a content type names.
fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let values = parameters.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let (_, value) = values.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))?;
    let value = value.trim();
    let boundary = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let is_fine = (1..=BOUNDARY_CHARS_MAX).contains(&boundary.len())
        && boundary.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && !boundary.ends_with(' ');
    is_fine.then_some(boundary)
}

/// The field name in the headers of a part.
fn name(headers: &[u8]) -> Option<String> {
    let headers = std::str::from_utf8(headers).ok()?;
    let mut lines = headers.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))?;
    let rest = value.trim().strip_prefix("form-data")?;
    parameter(rest, "name").map(|name| unescape(&name))
}

/// A parameter's value, as it is written there: `; a="x"; b=y`.
fn parameter(mut text: &str, wanted: &str) -> Option<String> {
    loop {
        text = text.trim_start().strip_prefix(';')?.trim_start();
        let (name, rest) = text.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = quote_end(quoted)?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => rest.split_at(rest.find(';').unwrap_or(rest.len())),
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value.to_owned());
        }
        text = rest;
    }
}

/// Where a quoted text ends: at the first quote that no backslash stands before.
fn quote_end(quoted: &str) -> Option<usize> {
    let mut is_escaped = false;
    quoted.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

/// Undoes what clients do to names: browsers write `%22`, `%0A` and `%0D` for a quote and line ends, HTTP libraries do
/// the same for all control characters, both leave `%` as it is; and many write a backslash before a quote or a backslash.
fn unescape(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(next) = rest.chars().next() {
        let (taken, meant) = match rest.as_bytes() {
            [b'\\', escaped @ (b'"' | b'\\'), ..] => (2, char::from(*escaped)),
            [b'%', high, low, ..] => match written_as(*high, *low) {
                Some(meant) => (3, meant),
                None => (1, next),
            },
            _ => (next.len_utf8(), next),
        };
        plain.push(meant);
        rest = &rest[taken..];
    }
    plain
}

/// What two hexadecimal digits behind a `%` stand for, if clients write it so.
fn written_as(high: u8, low: u8) -> Option<char> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let code = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    // No path has a NUL in it, so whoever wrote `%00` meant just that.
    matches!(code, 0x01..=0x1f | b'"').then(|| char::from(code))
}

/// What stands before a part of an answer, and behind the one before it.
pub fn part_head(boundary: &str, path: &str, is_first: bool) -> Bytes {
    let line = if is_first { "" } else { "\r\n" };
    let name = escape(path);
    format!(
        "{line}--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into()
}

/// What stands behind the last part of an answer.
pub fn tail(boundary: &str) -> Bytes {
    format!("\r\n--{boundary}--\r\n").into()
}

fn escape(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIND: &str = "multipart/form-data; boundary=xyz";

    /// The parts of a body that is fed so many bytes at once.
    fn parts(body: &[u8], at_once: usize) -> Result<Vec<(String, Vec<u8>)>, Malformed> {
        let mut parser = Parser::new(KIND)?;
        let (mut parts, mut is_open) = (Vec::new(), false);
        for bytes in body.chunks(at_once) {
            parser.feed(bytes);
            while let Some(event) = parser.next_event()? {
                match event {
                    Event::Part(name) => {
                        parts.push((name, Vec::new()));
                        is_open = true;
                    }
                    Event::Data(bytes) => parts.last_mut().unwrap().1.extend_from_slice(&bytes),
                    Event::PartEnd => is_open = false,
                    Event::End => assert!(!is_open),
                }
            }
        }
        assert!(parser.is_complete(), "the end was not seen");
        Ok(parts)
    }

    fn body(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (index, (name, content)) in parts.iter().enumerate() {
            body.extend_from_slice(&part_head("xyz", name, index == 0));
            body.extend_from_slice(content);
        }
        if parts.is_empty() {
            return b"--xyz--\r\n".to_vec();
        }
        body.extend_from_slice(&tail("xyz"));
        body
    }

    proptest! {
        #[test]
        fn parts_arrive_as_sent_however_the_bytes_are_cut(
            sent in prop::collection::vec(("[a-z/\"\\\\é \n]{1,8}", prop::collection::vec(any::<u8>(), 0..80)), 0..4),
            at_once in 1usize..60,
        ) {
            prop_assert_eq!(parts(&body(&sent), at_once).unwrap(), sent);
        }

        #[test]
        fn what_looks_like_a_boundary_is_data(content in "[\r\n-xyz]{0,60}", at_once in 1usize..9) {
            prop_assume!(!content.contains("\r\n--xyz") && !content.starts_with("--xyz"));
            let sent = vec![("a".to_owned(), content.into_bytes())];
            prop_assert_eq!(parts(&body(&sent), at_once).unwrap(), sent);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>, at_once in 1usize..9) {
            let mut parser = Parser::new(KIND).unwrap();
            for bytes in [b"--xyz\r\n", &bytes[..]].concat().chunks(at_once) {
                parser.feed(bytes);
                while let Ok(Some(_)) = parser.next_event() {}
            }
        }
    }

    #[test]
    fn names_are_as_clients_in_use_escape_them() {
        for (sent, meant) in [
            (r#"form-data; name="/a b/é"; filename="upload""#, "/a b/é"),
            (r#"form-data; filename="name=x"; name="a%22b%0Ac%0D""#, "a\"b\nc\r"),
            (r#"form-data; name="a\\b\"c""#, "a\\b\"c"),
            (r#"form-data; name="a%09b%1f%7F%25%20%é%2""#, "a\tb\u{1f}%7F%25%20%é%2"),
            (r#"form-data; name="100%""#, "100%"),
            ("form-data; name=plain", "plain"),
        ] {
            let headers = format!("\r\nContent-Type: x/y\r\ncontent-disposition: {sent}\r\n\r\n");
            assert_eq!(name(headers.as_bytes()).as_deref(), Some(meant), "{sent}");
        }
        for none in
            ["form-data", "attachment; name=\"a\"", "form-data; filename=\"a\"", "form-data; name=\"a"]
        {
            assert_eq!(name(format!("Content-Disposition: {none}\r\n\r\n").as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_boundary_is_what_the_content_type_says() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some("abc"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"a b'c\""), Some("a b'c"));
        for none in [
            "",
            "application/json",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/mixed; boundary=a",
        ] {
            assert_eq!(boundary(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let failed = |body: &[u8]| parts(body, 1000).unwrap_err();
        assert_eq!(failed(&[b'x'; PREAMBLE_BYTES_MAX + 1]), Malformed::NoPart);
        assert_eq!(failed(b"--xyzw\r\n"), Malformed::Boundary);
        assert_eq!(failed(b"--xyz\r\nA: b\r\n\r\n"), Malformed::NoName);
        assert_eq!(failed(b"--xyz\r\n\r\nx"), Malformed::NoName);
        let long = [&b"--xyz\r\n"[..], &[b'a'; PART_HEADERS_BYTES_MAX + 10]].concat();
        assert_eq!(failed(&long), Malformed::HeadersTooLong);
    }
}
