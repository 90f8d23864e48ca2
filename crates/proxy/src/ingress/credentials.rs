//! Who asks, and what of it the app inside may see. Pure.
//!
//! | the key came in | and `authorization` |
//! | --- | --- |
//! | `leap0-authorization` | is the app's own, and passes |
//! | `authorization`, with or without `Bearer` | goes no further |
//! | the password of `authorization: Basic` | goes no further |
//!
//! Where no key is needed, one that opened nothing is the app's own; but one of ours never passes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::host::Place;
use super::refusal::Refusal;

/// When this header is there, the key is in it.
pub const OWN_HEADER: HeaderName = HeaderName::from_static("leap0-authorization");

/// What our keys start with, and how many hexadecimal digits follow: one is kept from apps wherever it is.
const KEY_PREFIX: &[u8] = b"atoll_";
const KEY_DIGITS: usize = 64;

/// What a request says of who sends it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The key, if one came.
    pub key: Option<String>,
    /// Whether the key came in our own header, so that `authorization` is the app's.
    pub is_own: bool,
    /// The user of `authorization: Basic`, which can name a sandbox where the host does not.
    pub user: Option<String>,
}

impl Credentials {
    /// Reads them.
    ///
    /// # Errors
    /// When a header is there twice: somebody may read the other one.
    pub fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let (own, standard) = (single(headers, &OWN_HEADER)?, single(headers, &AUTHORIZATION)?);
        let basic = standard.and_then(basic);
        let key = match (own, standard) {
            (Some(own), _) => text(own),
            (None, Some(_)) if basic.is_some() => basic.as_ref().map(|(_, password)| password.clone()),
            (None, Some(standard)) => text(standard),
            (None, None) => None,
        };
        let key = key.filter(|key| !key.is_empty());
        Ok(Self { key, is_own: own.is_some(), user: basic.map(|(user, _)| user) })
    }

    /// The sandbox that the user names: `<id>[-<port>].` and anything, as URLs without a name of their own carry it.
    pub fn place(&self) -> Option<Place> {
        self.user.as_ref()?.split_once('.')?.0.parse().ok()
    }

    /// Removes from `headers` what is not for the app. `named`: `authorization` was how the sandbox was named; `opened`:
    /// the key was needed, and known.
    pub fn strip(&self, headers: &mut HeaderMap, named: bool, opened: bool) {
        headers.remove(OWN_HEADER);
        let came_there = opened && !self.is_own;
        if came_there || named || headers.get(AUTHORIZATION).is_some_and(has_ours) {
            headers.remove(AUTHORIZATION);
        }
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Refusal::malformed(format!("the header `{name}` is there more than once"))),
    }
}

/// A key, with or without `Bearer`.
fn text(value: &HeaderValue) -> Option<String> {
    let value = value.to_str().ok()?.trim();
    Some(after_scheme(value, "bearer ").unwrap_or(value).to_owned())
}

fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let encoded = after_scheme(value.to_str().ok()?.trim(), "basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn after_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (front, rest) = value.split_at_checked(scheme.len())?;
    front.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// Whether there is a key of ours in a value, in any form in which keys are sent.
fn has_ours(value: &HeaderValue) -> bool {
    is_ours(value.as_bytes()) || basic(value).is_some_and(|(_, password)| is_ours(password.as_bytes()))
}

/// Whether a text ends with what has the shape of a key of ours.
fn is_ours(text: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    let Some(start) = text.len().checked_sub(KEY_PREFIX.len() + KEY_DIGITS) else { return false };
    let (prefix, digits) = text[start..].split_at(KEY_PREFIX.len());
    prefix == KEY_PREFIX && digits.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "atoll_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    /// The key, and what is left for the app.
    fn check(pairs: &[(&str, &str)], key: Option<&str>, left: &[(&str, &str)]) {
        let mut map = headers(pairs);
        let credentials = Credentials::read(&map).unwrap();
        assert_eq!(credentials.key.as_deref(), key, "{pairs:?}");
        credentials.strip(&mut map, credentials.place().is_some(), key.is_some());
        assert_eq!(map, headers(left), "{pairs:?}");
    }

    /// What is left for the app where no key is needed.
    fn check_open(pairs: &[(&str, &str)], left: &[(&str, &str)]) {
        let mut map = headers(pairs);
        Credentials::read(&map).unwrap().strip(&mut map, false, false);
        assert_eq!(map, headers(left), "{pairs:?}");
    }

    fn basic(user_and_password: &str) -> String {
        format!("Basic {}", STANDARD.encode(user_and_password))
    }

    #[test]
    fn a_key_is_found_wherever_clients_put_it_and_no_app_sees_it() {
        check(&[], None, &[]);
        check(&[("authorization", "k")], Some("k"), &[]);
        check(&[("authorization", "bEaReR  k ")], Some("k"), &[]);
        check(&[("leap0-authorization", "Bearer k")], Some("k"), &[]);
        check(&[("authorization", &basic("any:k"))], Some("k"), &[]);
    }

    #[test]
    fn the_apps_own_authorization_passes_when_ours_came_in_the_other() {
        let own = ("leap0-authorization", "k");
        for value in ["Bearer app", "Digest a=b", &basic("me:secret"), "\u{e9}"] {
            check(&[own, ("authorization", value)], Some("k"), &[("authorization", value)]);
        }
    }

    #[test]
    fn an_empty_own_header_does_not_fall_back() {
        check(&[("leap0-authorization", ""), ("authorization", "app")], None, &[("authorization", "app")]);
    }

    #[test]
    fn a_key_of_ours_never_passes() {
        let bearer = format!("Bearer {KEY}");
        check(&[("leap0-authorization", KEY), ("authorization", &bearer)], Some(KEY), &[]);
        check(&[("leap0-authorization", ""), ("authorization", KEY)], None, &[]);
    }

    #[test]
    fn where_no_key_is_needed_the_apps_own_passes_and_ours_does_not() {
        for value in ["Bearer app", "app", &basic("me:secret")] {
            check_open(&[("authorization", value)], &[("authorization", value)]);
        }
        for value in [KEY, &format!("Bearer {KEY}"), &basic(&format!("any:{KEY}"))] {
            check_open(&[("authorization", value)], &[]);
            check_open(&[("leap0-authorization", "k"), ("authorization", value)], &[]);
        }
        check_open(&[("leap0-authorization", "anything")], &[]);
    }

    #[test]
    fn the_user_names_a_sandbox_where_nothing_else_can() {
        let id = "sbx-hhhhhhhhhhhhhhhhhhhh";
        let place = |user: &str| {
            let map = headers(&[("authorization", &basic(&format!("{user}:k")))]);
            Credentials::read(&map).unwrap().place()
        };
        assert_eq!(place(&format!("{id}.")).unwrap().port, None);
        assert_eq!(place(&format!("{id}-80.x")).unwrap().port, Some(80));
        assert_eq!(place(id), None, "a user without a dot may be the app's");
        assert_eq!(place("me."), None);
        // The way of those who keep the key out of URLs.
        let user = basic(&format!("{id}.x:"));
        check(&[("leap0-authorization", "k"), ("authorization", &user)], Some("k"), &[]);
    }

    #[test]
    fn a_header_that_is_there_twice_is_refused() {
        for name in ["authorization", "leap0-authorization"] {
            let map = headers(&[(name, "a"), (name, "a")]);
            assert_eq!(Credentials::read(&map).unwrap_err().status, 400);
        }
    }
}
