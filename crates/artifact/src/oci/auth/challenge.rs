//! What a registry wants to see: its `WWW-Authenticate` (RFC 9110, 11.6.1).

use std::collections::BTreeMap;

use http::{HeaderMap, header};

/// Challenges looked at, at most.
const CHALLENGES_MAX: usize = 8;

/// One way to prove who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and password.
    Basic,
    /// A token of this service.
    Bearer { realm: String, service: Option<String> },
}

/// The challenge that we answer: a token where there is a choice.
pub(crate) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<_> = values.flat_map(parse).take(CHALLENGES_MAX).collect();
    let bearer = all.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(all.first()).cloned()
}

/// The challenges of one header, those that we know.
fn parse(text: &str) -> Vec<Challenge> {
    let mut rest = Rest(text);
    let mut challenges = Vec::new();
    while let Some(scheme) = rest.word() {
        let parameters = rest.parameters();
        if scheme.eq_ignore_ascii_case("basic") {
            challenges.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = parameters.get("realm")
        {
            challenges.push(Challenge::Bearer {
                realm: realm.clone(),
                service: parameters.get("service").cloned(),
            });
        }
    }
    challenges
}

/// What is not read yet.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    /// A scheme, or a parameter's name or bare value.
    fn word(&mut self) -> Option<String> {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
        let end = self.0.find([' ', '\t', ',', '=', '"']).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }

    /// `name=value` as long as there are some; the next word without `=` is another scheme.
    fn parameters(&mut self) -> BTreeMap<String, String> {
        let mut parameters = BTreeMap::new();
        loop {
            let before = self.0;
            let Some(name) = self.word() else { return parameters };
            let Some(value) = self.0.trim_start().strip_prefix('=') else {
                self.0 = before;
                return parameters;
            };
            self.0 = value.trim_start();
            let value = if self.0.starts_with('"') { self.quoted() } else { self.word().unwrap_or_default() };
            parameters.insert(name.to_ascii_lowercase(), value);
        }
    }

    fn quoted(&mut self) -> String {
        let mut value = String::new();
        let mut chars = self.0.char_indices().skip(1);
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return value;
                }
                '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        self.0 = "";
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) }
    }

    fn chosen(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, value.parse().unwrap());
        }
        choose(&headers)
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(chosen(&[hub]), Some(bearer("https://auth.docker.io/token", Some("registry.docker.io"))));
        assert_eq!(chosen(&[r#"Basic realm="It""#]), Some(Challenge::Basic));
        assert_eq!(chosen(&["basic"]), Some(Challenge::Basic));
        assert_eq!(chosen(&[r#"Basic realm="x, y", bearer Realm = "a\"b""#]), Some(bearer("a\"b", None)));
        assert_eq!(chosen(&[r#"Basic realm="x""#, "Bearer realm=r,service=s"]), Some(bearer("r", Some("s"))));
        assert_eq!(chosen(&["Negotiate", "Digest nonce=\"x\""]), None);
        assert_eq!(chosen(&["Bearer service=\"x\""]), None);
        assert_eq!(chosen(&[r#"Bearer realm="unended"#]), Some(bearer("unended", None)));
        assert_eq!(chosen(&["", "=", "\"", ",,,"]), None);
    }
}
