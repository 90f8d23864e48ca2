//! Keeps the token of a presigned URL from the app it leads to. Pure.
//!
//! Browsers say where they are in more than the host (`origin`, `referer`), and apps answer with their own name
//! (`location`, `access-control-allow-origin`, `set-cookie`). In heads, therefore, the name of the sandbox and its port
//! stands for the token on the way in, and the token for that name on the way out, so that either side knows one name.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};
use wire::ingress::{Destination, Route};

use super::host::{Domain, Host, Place};

/// See the module. It changes nothing where there is no token.
pub struct Mask(Option<Names>);

/// What the client says, and what the app is told instead.
struct Names {
    token: String,
    place: String,
    /// The two whole names, if the client used one: the client's, and the app's.
    whole: Option<(String, String)>,
}

impl Mask {
    /// The mask of a request that `to` led to `route`; `host` is what the client calls us.
    pub fn of(to: &Destination, route: &Route, domain: &Domain, host: &str) -> Self {
        let Destination::Presigned(token) = to else { return Self(None) };
        let token = token.as_str().to_owned();
        let place = Place { sandbox: route.sandbox.clone(), port: Some(route.port) }.to_string();
        let name = host.split(':').next().unwrap_or_default();
        let is_name = matches!(domain.host(name), Host::Presigned(_));
        let whole = is_name.then(|| (format!("{token}.{domain}"), format!("{place}.{domain}")));
        Self(Some(Names { token, place, whole }))
    }

    /// What the app is told of a text that the client sent.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let masked = self.0.as_ref().and_then(|names| replaced(text.as_bytes(), &names.token, &names.place));
        masked.and_then(|bytes| String::from_utf8(bytes).ok()).map_or(text.into(), Cow::Owned)
    }

    /// Makes the head of a request one that the app may see.
    pub fn request(&self, headers: &mut HeaderMap) {
        if let Some(Names { token, place, .. }) = &self.0 {
            replace_in(headers, token, place);
        }
    }

    /// Makes the head of an answer one that the client understands.
    pub fn answer(&self, headers: &mut HeaderMap) {
        if let Some(Names { whole: Some((client, app)), .. }) = &self.0 {
            replace_in(headers, app, client);
        }
    }
}

fn replace_in(headers: &mut HeaderMap, from: &str, to: &str) {
    for value in headers.values_mut() {
        let other = replaced(value.as_bytes(), from, to);
        if let Some(Ok(other)) = other.as_deref().map(HeaderValue::from_bytes) {
            *value = other;
        }
    }
}

/// These bytes with every `from`, in any case, replaced; `None` if there is none.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Option<Vec<u8>> {
    let find = |rest: &[u8]| rest.windows(from.len()).position(|it| it.eq_ignore_ascii_case(from.as_bytes()));
    let mut at = find(bytes)?;
    let (mut out, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    loop {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to.as_bytes());
        rest = &rest[at + from.len()..];
        match find(rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use proptest::prelude::*;
    use wire::id::{NodeId, SandboxId};
    use wire::token::{SUFFIX_CHARS, Token};

    fn token() -> String {
        format!("url-{}", "h".repeat(SUFFIX_CHARS))
    }

    fn place() -> String {
        format!("{}-8080", SandboxId::from_entropy([7; 20]))
    }

    fn mask(host: &str) -> Mask {
        let route = Route {
            sandbox: SandboxId::from_entropy([7; 20]),
            port: 8080,
            node: NodeId::from_entropy([1; 20]),
        };
        let to = Destination::Presigned(Token::from_entropy([7; SUFFIX_CHARS]));
        Mask::of(&to, &route, &"sandbox.localhost".parse().unwrap(), host)
    }

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_app_knows_one_name_and_the_client_the_other() {
        let (token, place) = (token(), place());
        let ours = format!("https://{token}.sandbox.localhost:7443");
        let theirs = format!("https://{place}.sandbox.localhost:7443");
        let mask = mask(&format!("{token}.sandbox.localhost:7443"));
        assert_eq!(mask.text(&ours), theirs);
        let shouted = ours.replace("url-h", "URL-H");
        let mut headers =
            map(&[("origin", &ours), ("referer", &format!("{shouted}/a?{token}")), ("accept", "a")]);
        mask.request(&mut headers);
        assert_eq!(
            headers,
            map(&[("origin", &theirs), ("referer", &format!("{theirs}/a?{place}")), ("accept", "a")])
        );
        let mut headers = map(&[("location", &format!("{theirs}/login?{place}")), ("set-cookie", "a=b")]);
        mask.answer(&mut headers);
        assert_eq!(headers, map(&[("location", &format!("{ours}/login?{place}")), ("set-cookie", "a=b")]));
    }

    #[test]
    fn who_came_by_path_is_told_no_name() {
        let mask = mask("127.0.0.1:7443");
        let said = format!("https://{}.sandbox.localhost/", place());
        let mut headers = map(&[("location", &said)]);
        mask.answer(&mut headers);
        assert_eq!(headers, map(&[("location", &said)]));
    }

    #[test]
    fn only_presigned_urls_are_masked() {
        let route =
            Route { sandbox: SandboxId::from_entropy([7; 20]), port: 1, node: NodeId::from_entropy([1; 20]) };
        let to = Destination::Sandbox { sandbox: route.sandbox.clone(), port: None };
        let mask = Mask::of(&to, &route, &"sandbox.localhost".parse().unwrap(), "x");
        assert_eq!(mask.text(&token()), token());
    }

    proptest! {
        #[test]
        fn whatever_is_around_it_no_token_is_left(before in "[ -~]{0,40}", after in "[ -~]{0,40}", times in 1..4_usize) {
            let value = format!("{before}{}{after}", token().repeat(times));
            let mut headers = map(&[]);
            headers.insert("x-any", HeaderValue::from_str(&value).unwrap());
            mask("127.0.0.1").request(&mut headers);
            let left = String::from_utf8_lossy(headers["x-any"].as_bytes()).into_owned();
            prop_assert_eq!(left, format!("{before}{}{after}", place().repeat(times)));
        }
    }
}
