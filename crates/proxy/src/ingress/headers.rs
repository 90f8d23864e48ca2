//! What of a message's head passes, and what is between two machines only. Pure.

use std::fmt::Write;
use std::net::IpAddr;

use bytes::BytesMut;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::credentials::OWN_HEADER;
use super::refusal::Refusal;

/// What is between two machines only (RFC 9110, 7.6.1), whether `connection` names it or not.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// What an app believes about who asks it, and only we may say.
const OURS_FRONT: &str = "x-forwarded-";
const OURS: [HeaderName; 3] = [FORWARDED, HeaderName::from_static("x-real-ip"), OWN_HEADER];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Room for what `forwarded` says, in bytes; it may be longer.
const FORWARDED_BYTES: usize = 160;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// From where.
    pub address: IpAddr,
    /// `https`, or `http`.
    pub scheme: &'static str,
}

/// Makes the head of a request what the app is to see; `host` is what the client calls it.
///
/// # Errors
/// When `connection` cannot be read: nobody knows what it names.
pub fn request(
    headers: &mut HeaderMap,
    version: Version,
    asker: &Asker,
    host: &HeaderValue,
) -> Result<(), Refusal> {
    let takes_trailers = has_token(headers, &TE, "trailers");
    let named = named(headers)?;
    // We say `100 Continue` ourselves, once there is somebody to read the body.
    remove(headers, |name| is_hop_by_hop(name, &named) || is_ours(name) || *name == TE || *name == EXPECT);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if version >= Version::HTTP_2 {
        join_cookies(headers);
    }
    headers.insert(HOST, host.clone());
    say_who_asks(headers, asker, host);
    Ok(())
}

/// Makes the head of an answer what the client is to see.
///
/// # Errors
/// As [`request`].
pub fn answer(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let named = named(headers)?;
    remove(headers, |name| is_hop_by_hop(name, &named));
    Ok(())
}

/// Makes trailers of a request what the app is to see: they must not say what heads may not.
pub fn trailers(trailers: &mut HeaderMap) {
    let of_heads = [HOST, CONTENT_LENGTH, TE, EXPECT, http::header::AUTHORIZATION];
    remove(trailers, |name| is_hop_by_hop(name, &[]) || is_ours(name) || of_heads.contains(name));
}

/// Whether a list header has this word, in any case.
pub fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| {
        let word = word.split(';').next().unwrap_or_default();
        word.trim().eq_ignore_ascii_case(token)
    })
}

/// The headers that `connection` names.
fn named(headers: &HeaderMap) -> Result<Vec<HeaderName>, Refusal> {
    let unreadable = || Refusal::malformed("the header `connection` is not a list of names");
    let mut named = Vec::new();
    for value in headers.get_all(CONNECTION) {
        let words = value.to_str().map_err(|_| unreadable())?.split(',').map(str::trim);
        for word in words.filter(|word| !word.is_empty()) {
            named.push(word.parse::<HeaderName>().map_err(|_| unreadable())?);
        }
    }
    Ok(named)
}

/// The length is the message's own, whoever names it.
fn is_hop_by_hop(name: &HeaderName, named: &[HeaderName]) -> bool {
    HOP_BY_HOP.contains(name) || (named.contains(name) && *name != CONTENT_LENGTH)
}

fn is_ours(name: &HeaderName) -> bool {
    OURS.contains(name) || name.as_str().starts_with(OURS_FRONT)
}

/// Removes the headers of which this is true.
fn remove(headers: &mut HeaderMap, is_doomed: impl Fn(&HeaderName) -> bool) {
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| is_doomed(name)).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
}

/// HTTP/2 may send each cookie by itself; apps that speak HTTP/1.1 expect one line (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

fn say_who_asks(headers: &mut HeaderMap, asker: &Asker, host: &HeaderValue) {
    let Asker { address, scheme } = asker;
    let (front, back) = if address.is_ipv6() { ("for=\"[", "]\"") } else { ("for=", "") };
    let name = host.to_str().unwrap_or_default();
    let mut said = BytesMut::with_capacity(FORWARDED_BYTES);
    // A buffer takes what there is memory for.
    let _ = write!(said, "{front}{address}");
    let end = said.len();
    let _ = write!(said, "{back};proto={scheme};host=\"{name}\"");
    let said = said.freeze();
    let values = [
        (X_FORWARDED_FOR, HeaderValue::from_maybe_shared(said.slice(front.len()..end))),
        (FORWARDED, HeaderValue::from_maybe_shared(said)),
        (X_FORWARDED_PROTO, Ok(HeaderValue::from_static(scheme))),
        (X_FORWARDED_HOST, Ok(host.clone())),
    ];
    for (name, value) in values {
        if let Ok(value) = value {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ASKER: Asker =
        Asker { address: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), scheme: "https" };
    const HOST_NAME: &str = "app.test:1";
    /// What every app sees.
    const SAID: [(&str, &str); 5] = [
        ("host", HOST_NAME),
        ("forwarded", "for=192.0.2.7;proto=https;host=\"app.test:1\""),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", HOST_NAME),
    ];

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn passed(headers: &mut HeaderMap, version: Version) -> Result<(), Refusal> {
        request(headers, version, &ASKER, &HeaderValue::from_static(HOST_NAME))
    }

    /// What is left of a request's head, besides what every app sees.
    fn check(sent: &[(&str, &str)], left: &[(&str, &str)]) {
        let mut headers = map(sent);
        passed(&mut headers, Version::HTTP_11).unwrap();
        assert_eq!(headers, map(&[&SAID, left].concat()), "{sent:?}");
    }

    #[test]
    fn what_is_the_apps_passes() {
        let own = [
            ("accept", "a"),
            ("accept", "b"),
            ("cookie", "a=1; b=2"),
            ("authorization", "Bearer app"),
            ("content-type", "text/plain"),
            ("sec-websocket-key", "k"),
            ("range", "bytes=0-1"),
            ("content-length", "3"),
            ("x-empty", ""),
            ("via", "1.1 other"),
            ("origin", "https://app.test"),
            ("trailer", "x-sum"),
        ];
        check(&own, &own);
    }

    #[test]
    fn what_is_between_two_machines_does_not() {
        for (name, value) in [
            ("connection", "close"),
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authorization", "Basic abc"),
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "gzip, chunked"),
            ("upgrade", "h2c"),
            ("upgrade", "websocket"),
            ("http2-settings", "AAMAAABk"),
            ("te", "gzip"),
            ("expect", "100-continue"),
            ("expect", "200-ok"),
        ] {
            check(&[(name, value)], &[]);
        }
        check(&[("te", "gzip, Trailers;q=1")], &[("te", "trailers")]);
    }

    #[test]
    fn what_connection_names_does_not_either() {
        check(&[("connection", "x-a"), ("x-a", "1"), ("x-b", "2")], &[("x-b", "2")]);
        check(&[("connection", "close, X-A ,,x-b"), ("x-a", "1"), ("x-b", "2")], &[]);
        check(&[("connection", "x-a"), ("connection", "x-b"), ("x-a", "1"), ("x-b", "2")], &[]);
        check(&[("connection", "cookie"), ("cookie", "a=1")], &[]);
        check(&[("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "A")], &[]);
    }

    #[test]
    fn nobody_takes_away_what_we_say_or_how_long_it_is() {
        check(
            &[("connection", "host, forwarded, x-forwarded-for, x-forwarded-proto, x-forwarded-host")],
            &[],
        );
        check(&[("connection", "content-length"), ("content-length", "3")], &[("content-length", "3")]);
        check(&[("connection", "te"), ("te", "trailers")], &[("te", "trailers")]);
    }

    #[test]
    fn nobody_says_what_only_we_may() {
        for (name, value) in [
            ("forwarded", "for=127.0.0.1"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-for", "127.0.0.1, 10.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "evil.test"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-server", "s"),
            ("x-forwarded-prefix", "/p"),
            ("x-forwarded-user", "root"),
            ("x-forwarded-client-cert", "c"),
            ("x-real-ip", "127.0.0.1"),
            ("leap0-authorization", "k"),
            ("host", "evil.test"),
        ] {
            check(&[(name, value)], &[]);
            check(&[(name, value), (name, value)], &[]);
        }
    }

    #[test]
    fn a_connection_header_that_cannot_be_read_is_refused() {
        for value in ["a b", "(", "\u{e9}", "a;b", "x-a=1", "\"close\""] {
            let mut headers = map(&[("connection", value)]);
            assert_eq!(passed(&mut headers, Version::HTTP_11).unwrap_err().status, 400, "{value:?}");
        }
    }

    #[test]
    fn cookies_that_came_apart_are_joined() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
        passed(&mut headers, Version::HTTP_2).unwrap();
        assert_eq!(headers, map(&[&SAID[..], &[("cookie", "a=1; b=2")]].concat()));
    }

    #[test]
    fn an_address_of_version_six_is_quoted() {
        let mut headers = HeaderMap::new();
        let asker = Asker { address: "2001:db8::1".parse().unwrap(), scheme: "http" };
        request(&mut headers, Version::HTTP_11, &asker, &HeaderValue::from_static("h")).unwrap();
        assert_eq!(headers["forwarded"], "for=\"[2001:db8::1]\";proto=http;host=\"h\"");
        assert_eq!(headers["x-forwarded-for"], "2001:db8::1");
    }

    #[test]
    fn answers_and_trailers_are_filtered_too() {
        let mut headers = map(&[
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=1"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
            ("x-forwarded-for", "the app's own business"),
        ]);
        answer(&mut headers).unwrap();
        let left = [("set-cookie", "a"), ("set-cookie", "b"), ("x-forwarded-for", "the app's own business")];
        assert_eq!(headers, map(&left));
        let mut late = map(&[
            ("x-sum", "1"),
            ("x-forwarded-for", "127.0.0.1"),
            ("authorization", "k"),
            ("leap0-authorization", "k"),
            ("host", "evil"),
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
        ]);
        trailers(&mut late);
        assert_eq!(late, map(&[("x-sum", "1")]));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_nothing_of_the_hop_or_of_ours_is_left(
            sent in proptest::collection::vec(("[a-z-]{1,14}|connection|x-forwarded-[a-z]{1,6}|te|upgrade", "[ -~]{0,20}"), 0..12)
        ) {
            let pairs: Vec<_> = sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let mut headers = map(&pairs);
            if passed(&mut headers, Version::HTTP_11).is_ok() {
                for (name, value) in SAID {
                    prop_assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), [value]);
                }
                prop_assert!(HOP_BY_HOP.iter().all(|name| !headers.contains_key(name)));
                let forwarded = headers.keys().filter(|name| name.as_str().starts_with(OURS_FRONT)).count();
                prop_assert_eq!(forwarded, 3);
            }
        }
    }
}
