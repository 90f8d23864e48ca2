//! Where a request wants to go: by its host, by its user, or by its path. Pure.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderMap, StatusCode, Version};

use wire::ingress::Destination;

use super::credentials::Credentials;
use super::host::{Domain, Host, Place, port};
use super::refusal::Refusal;

/// Where sandboxes are by path: `/v1/sandbox/<id>/invoke/<port>/…`.
const PATH_FRONT: &str = "/v1/sandbox/";
const PATH_MIDDLE: &str = "/invoke/";
/// Where presigned URLs lead by path: `/v1/presigned/<token>/…`.
const PRESIGNED_FRONT: &str = "/v1/presigned/";

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The sandbox and its port, or what leads to them.
    pub to: Destination,
    /// The path and query that the app sees.
    pub path: PathAndQuery,
    /// Whether `authorization` named the sandbox, and so is not the app's.
    pub by_user: bool,
}

/// What a request calls the host it wants, as it is written; empty where it calls it nothing.
///
/// # Errors
/// When it calls it two things, or nothing where HTTP wants a name.
pub fn host<'a>(version: Version, uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
    let mut named = headers.get_all(HOST).iter();
    let in_header = match (named.next(), named.next()) {
        (_, Some(_)) => return Err(Refusal::malformed("the header `host` is there more than once")),
        (Some(value), None) => Some(written(value.as_bytes())?),
        (None, None) => None,
    };
    let in_line = uri.authority().map(Authority::as_str);
    match (in_line, in_header) {
        (Some(line), Some(header)) if !line.eq_ignore_ascii_case(header) => {
            Err(Refusal::malformed("the request names two different hosts"))
        }
        (Some(line), _) => written(line.as_bytes()),
        (None, Some(header)) => Ok(header),
        (None, None) if version == Version::HTTP_11 => {
            Err(Refusal::malformed("the header `host` is missing"))
        }
        (None, None) => Ok(""),
    }
}

/// A host, and a port if there is one, and nothing else.
fn written(bytes: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(bytes).ok();
    let plain = text.filter(|text| {
        let (name, port) = split(text);
        is_name(name) && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    plain.ok_or_else(|| Refusal::malformed("the header `host` is not the name of a host"))
}

/// A name, or an address of IPv6 in brackets.
fn is_name(name: &str) -> bool {
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)),
    }
}

/// A host's name, and the port after it.
fn split(host: &str) -> (&str, &str) {
    let end = host.rfind(']').map_or(0, |end| end + 1);
    match host[end..].find(':') {
        Some(colon) => (&host[..end + colon], &host[end + colon + 1..]),
        None => (host, ""),
    }
}

/// Where a request to `host` goes.
///
/// # Errors
/// 404 when it names no sandbox.
pub fn target(domain: &Domain, host: &str, uri: &Uri, credentials: &Credentials) -> Result<Target, Refusal> {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let by_name = |to: Destination, by_user: bool| Target { to, path: path.clone(), by_user };
    match domain.host(split(host).0) {
        Host::Sandbox(place) => Ok(by_name(place.into(), false)),
        Host::Presigned(token) => Ok(by_name(Destination::Presigned(token), false)),
        Host::Nobody => Err(nobody(domain)),
        Host::Elsewhere => match credentials.place() {
            Some(place) => Ok(by_name(place.into(), true)),
            None => by_path(&path).ok_or_else(|| nobody(domain)),
        },
    }
}

/// The forms for those who have no names: what follows the port or the token is the app's path, byte for byte.
fn by_path(path: &PathAndQuery) -> Option<Target> {
    let (to, left) = match path.as_str().strip_prefix(PRESIGNED_FRONT) {
        Some(rest) => {
            let (token, left) = piece(rest);
            (Destination::Presigned(token.parse().ok()?), left)
        }
        None => {
            let (id, rest) = path.as_str().strip_prefix(PATH_FRONT)?.split_once('/')?;
            let (digits, left) = piece(rest.strip_prefix(&PATH_MIDDLE[1..])?);
            (Place { sandbox: id.parse().ok()?, port: Some(port(digits)?) }.into(), left)
        }
    };
    let left = if left.starts_with('/') { left.to_owned() } else { format!("/{left}") };
    Some(Target { to, path: left.parse().ok()?, by_user: false })
}

/// The first piece of a path, and the rest.
fn piece(path: &str) -> (&str, &str) {
    path.split_at(path.find(['/', '?']).unwrap_or(path.len()))
}

impl From<Place> for Destination {
    fn from(Place { sandbox, port }: Place) -> Self {
        Self::Sandbox { sandbox, port }
    }
}

fn nobody(domain: &Domain) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "no_such_sandbox",
        format!(
            "no sandbox is named here; ask https://<sandbox id>-<port>.{domain}/…, \
             or /v1/sandbox/<sandbox id>/invoke/<port>/… of this address"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "sbx-hhhhhhhhhhhhhhhhhhhh";

    fn called(uri: &str, hosts: &[&str], version: Version) -> Result<String, StatusCode> {
        let headers = hosts.iter().map(|host| (HOST, host.parse().unwrap())).collect();
        host(version, &uri.parse().unwrap(), &headers).map(str::to_owned).map_err(|refusal| refusal.status)
    }

    #[test]
    fn a_request_names_one_host() {
        let (ok, bad) = (|host: &str| Ok(host.to_owned()), Err(StatusCode::BAD_REQUEST));
        assert_eq!(called("/", &["a.b:1"], Version::HTTP_11), ok("a.b:1"));
        assert_eq!(called("http://a.b:1/", &["A.b:1"], Version::HTTP_11), ok("a.b:1"));
        assert_eq!(called("http://a.b/", &[], Version::HTTP_2), ok("a.b"));
        assert_eq!(called("/", &[], Version::HTTP_10), ok(""));
        assert_eq!(called("/", &[""], Version::HTTP_11), ok(""));
        assert_eq!(called("/", &[], Version::HTTP_11), bad);
        assert_eq!(called("/", &["a", "a"], Version::HTTP_11), bad);
        assert_eq!(called("http://a/", &["b"], Version::HTTP_11), bad);
        for host in ["a b", "a/b", "user@a", "a,b", "a:b", "a:1:2", "[::1", "::1", "[a]", "[::1]x", "\u{fc}"]
        {
            assert_eq!(called("/", &[host], Version::HTTP_11), bad, "{host:?}");
        }
    }

    /// The place and the path.
    fn found(host: &str, uri: &str) -> Option<(String, String)> {
        let domain = "sandbox.localhost".parse().unwrap();
        let target = target(&domain, host, &uri.parse().unwrap(), &Credentials::default()).ok()?;
        let to = match target.to {
            Destination::Sandbox { sandbox, port } => Place { sandbox, port }.to_string(),
            Destination::Presigned(token) => token.into(),
        };
        Some((to, target.path.to_string()))
    }

    fn check(host: &str, uri: &str, expect: Option<(&str, &str)>) {
        let expect = expect.map(|(place, path)| (place.to_owned(), path.to_owned()));
        assert_eq!(found(host, uri), expect, "{host} {uri}");
    }

    #[test]
    fn a_host_in_the_domain_leaves_the_path_alone() {
        let host = format!("{ID}-80.sandbox.localhost:7443");
        check(&host, "/%2e%2E//a?b=/c", Some((&format!("{ID}-80"), "/%2e%2E//a?b=/c")));
        let path = format!("/v1/sandbox/{ID}/invoke/1/x");
        check(&host, &path, Some((&format!("{ID}-80"), &path)));
        check("www.sandbox.localhost", &path, None);
    }

    #[test]
    fn a_path_names_a_sandbox_and_a_port_where_the_host_does_not() {
        let place = format!("{ID}-80");
        let front = format!("/v1/sandbox/{ID}/invoke/80");
        check("127.0.0.1:7443", &format!("{front}/a/..//%2f?q"), Some((&place, "/a/..//%2f?q")));
        check("127.0.0.1", &format!("{front}/"), Some((&place, "/")));
        check("127.0.0.1", &front, Some((&place, "/")));
        check("127.0.0.1", &format!("{front}?q=/"), Some((&place, "/?q=/")));
        check("", &front, Some((&place, "/")));
        for path in ["/", "/v1/sandbox/", &format!("/v1/sandbox/{ID}"), &format!("/v1/sandbox/{ID}/invoke/")]
        {
            check("127.0.0.1", path, None);
        }
        for port in ["0", "080", "65536", "x", "%38%30", "80%2f"] {
            check("127.0.0.1", &format!("/v1/sandbox/{ID}/invoke/{port}/"), None);
        }
        check("127.0.0.1", &format!("/v1/sandbox/{}/invoke/80/", ID.to_uppercase()), None);
    }

    #[test]
    fn a_token_leads_somewhere_by_name_and_by_path() {
        let token = format!("url-{}", "h".repeat(52));
        let host = format!("{token}.sandbox.localhost:7443");
        check(&host, "/a//%2e?b", Some((&token, "/a//%2e?b")));
        let path = format!("/v1/presigned/{token}");
        check("127.0.0.1:7443", &format!("{path}/a//%2e?b"), Some((&token, "/a//%2e?b")));
        check("127.0.0.1", &format!("{path}?b"), Some((&token, "/?b")));
        check("127.0.0.1", &path, Some((&token, "/")));
        check("127.0.0.1", &format!("/v1/presigned/{}/", token.to_uppercase()), None);
        check("127.0.0.1", "/v1/presigned/url-x/", None);
        check(&host, &path, Some((&token, &path)));
    }

    proptest! {
        #[test]
        fn what_follows_the_port_is_the_apps_byte_for_byte(rest in "(/[a-zA-Z0-9%._~!$&'()*+,;=:@-]{0,12}){1,4}(\\?[a-z/%=&]{0,9})?") {
            let uri = format!("/v1/sandbox/{ID}/invoke/8080{rest}");
            if let Ok(uri) = uri.parse::<Uri>() {
                let domain = "sandbox.localhost".parse().unwrap();
                let target = target(&domain, "127.0.0.1", &uri, &Credentials::default()).unwrap();
                prop_assert_eq!(target.path.as_str(), rest);
            }
        }
    }
}
