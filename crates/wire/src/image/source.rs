//! Where an image comes from, as users write it.
//!
//! A registry reference is read as the distribution project reads it (`distribution/reference`): no registry means
//! `docker.io`, no slash there means `library/`, and neither tag nor digest means `latest`.

use std::fmt;
use std::str::FromStr;

use super::Digest;

/// Characters of a source.
pub const SOURCE_CHARS_MAX: usize = 500;
/// Characters of a repository's name, without its registry.
const REPOSITORY_CHARS_MAX: usize = 255;
/// Characters of a tag.
const TAG_CHARS_MAX: usize = 128;
/// The registry of references that name none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag of references that have neither tag nor digest.
const DEFAULT_TAG: &str = "latest";
/// Where Docker's registry keeps what has no namespace.
const DEFAULT_NAMESPACE: &str = "library";

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageSource {
    /// A registry.
    Registry(Reference),
    /// `oci:PATH[:TAG]`: a directory in the OCI image layout, on the node.
    OciLayout {
        /// Absolute.
        path: String,
        /// Which of its images; absent where it has one only.
        tag: Option<String>,
    },
    /// `docker-archive:FILE`: what `docker save` writes, on the node.
    DockerArchive {
        /// Absolute.
        path: String,
    },
}

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Host, and port if it was given.
    pub registry: String,
    /// The repository, its namespace included.
    pub repository: String,
    /// A name for one of its images. Absent only where there is a digest.
    pub tag: Option<String>,
    /// The manifest or index, by content. Decides where there is a tag too.
    pub digest: Option<Digest>,
}

/// Why a text is no image source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSource(String);

impl Reference {
    /// The same repository, pinned to this content.
    pub fn at(&self, digest: &Digest) -> Self {
        Self { digest: Some(digest.clone()), ..self.clone() }
    }

    /// What a registry is asked for: the digest, or else the tag.
    pub fn version(&self) -> &str {
        match &self.digest {
            Some(digest) => digest.as_str(),
            None => self.tag.as_deref().unwrap_or(DEFAULT_TAG),
        }
    }
}

impl FromStr for ImageSource {
    type Err = InvalidSource;
    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        check_length("image source", text, SOURCE_CHARS_MAX)?;
        if let Some(rest) = text.strip_prefix("oci:") {
            let (path, tag) = match rest.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') => (path, Some(checked_tag(tag)?)),
                _ => (rest, None),
            };
            return Ok(Self::OciLayout { path: local_path(path)?, tag });
        }
        match text.strip_prefix("docker-archive:") {
            Some(path) => Ok(Self::DockerArchive { path: local_path(path)? }),
            None => text.parse().map(Self::Registry),
        }
    }
}

impl FromStr for Reference {
    type Err = InvalidSource;
    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        if text.contains("://") {
            return wrong(format!("an image reference has no scheme: leave out `{}`", scheme(text)));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(parse_digest(digest)?)),
            None => (text, None),
        };
        let (registry, path) = split_registry(name);
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(checked_tag(tag)?)),
            None => (path, None),
        };
        check_registry(&registry)?;
        check_repository(repository)?;
        let is_bare = registry == DEFAULT_REGISTRY && !repository.contains('/');
        let repository =
            if is_bare { format!("{DEFAULT_NAMESPACE}/{repository}") } else { repository.to_owned() };
        let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        Ok(Self { registry, repository, tag, digest })
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::OciLayout { path, tag: Some(tag) } => write!(f, "oci:{path}:{tag}"),
            Self::OciLayout { path, tag: None } => write!(f, "oci:{path}"),
            Self::DockerArchive { path } => write!(f, "docker-archive:{path}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// What comes before the first slash is a registry if it looks like a host.
fn split_registry(name: &str) -> (String, &str) {
    let (first, rest) = match name.split_once('/') {
        Some((first, rest)) if is_host_like(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = first.to_ascii_lowercase();
    (if registry == "index.docker.io" { DEFAULT_REGISTRY.to_owned() } else { registry }, rest)
}

fn is_host_like(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':']) || text.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_registry(registry: &str) -> Result<(), InvalidSource> {
    let (host, port) = match registry.rsplit_once(':') {
        // The colons of an IPv6 address are in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    if !port.is_none_or(is_port) {
        return wrong(format!("`{registry}` has no valid port"));
    }
    let is_label = |label: &str| {
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(fit) && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_v6 = |host: &str| {
        host.strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
    };
    if is_v6(host) || host.split('.').all(is_label) {
        return Ok(());
    }
    wrong(format!("`{registry}` is not a registry's host name"))
}

/// Components of lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
fn check_repository(repository: &str) -> Result<(), InvalidSource> {
    check_length("repository", repository, REPOSITORY_CHARS_MAX)?;
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return wrong(format!("a repository is written in lower case: `{repository}`"));
    }
    if repository.split('/').all(is_component) {
        return Ok(());
    }
    wrong(format!("`{repository}` is not a repository: expected names like `library/python`"))
}

fn is_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let between = component.split(|c: char| c.is_ascii() && is_word(c as u8)).filter(|part| !part.is_empty());
    let ends = component.bytes().next().zip(component.bytes().next_back());
    ends.is_some_and(|(first, last)| is_word(first) && is_word(last))
        && between
            .into_iter()
            .all(|part| part == "." || part == "_" || part == "__" || part.bytes().all(|byte| byte == b'-'))
}

fn checked_tag(tag: &str) -> Result<String, InvalidSource> {
    check_length("tag", tag, TAG_CHARS_MAX)?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let fit = tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-');
    if fit && tag.bytes().next().is_some_and(is_word) {
        return Ok(tag.to_owned());
    }
    wrong(format!("`{tag}` is not a tag: expected letters, digits, `_`, `.` and `-`"))
}

fn parse_digest(text: &str) -> Result<Digest, InvalidSource> {
    text.parse().map_err(|error| InvalidSource(format!("`{text}` is {error}")))
}

fn local_path(path: &str) -> Result<String, InvalidSource> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(path.to_owned());
    }
    wrong(format!("`{path}` is not an absolute path on the node"))
}

fn check_length(what: &str, text: &str, max: usize) -> Result<(), InvalidSource> {
    match text.chars().count() {
        0 => wrong(format!("the {what} is empty")),
        count if count > max => wrong(format!("the {what} has {count} characters; {max} is the limit")),
        _ => Ok(()),
    }
}

fn scheme(text: &str) -> &str {
    text.find("://").map_or(text, |at| &text[..at + 3])
}

fn wrong<T>(message: String) -> Result<T, InvalidSource> {
    Err(InvalidSource(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn what_is_left_out_of_a_reference_is_what_docker_means() {
        let check = |text: &str, whole: &str| {
            assert_eq!(text.parse::<ImageSource>().unwrap().to_string(), whole, "{text}");
        };
        check("python", "docker.io/library/python:latest");
        check("python:3.12-slim", "docker.io/library/python:3.12-slim");
        check("docker.io/library/python:3.12", "docker.io/library/python:3.12");
        check("index.docker.io/me/it", "docker.io/me/it:latest");
        check("me/it", "docker.io/me/it:latest");
        check("localhost/it", "localhost/it:latest");
        check("localhost:5000/a/b__c/d--e.f:v1", "localhost:5000/a/b__c/d--e.f:v1");
        check("Registry.test/it", "registry.test/it:latest");
        check("[::1]:5000/it", "[::1]:5000/it:latest");
        check(&format!("r.test/it@{DIGEST}"), &format!("r.test/it@{DIGEST}"));
        check(&format!("r.test/it:v1@{DIGEST}"), &format!("r.test/it:v1@{DIGEST}"));
        check("oci:/images/it", "oci:/images/it");
        check("oci:/images/it:v1", "oci:/images/it:v1");
        check("oci:/a:b/it", "oci:/a:b/it");
        check("docker-archive:/images/it.tar", "docker-archive:/images/it.tar");
    }

    #[test]
    fn what_is_no_reference_is_refused_with_the_part_that_is_wrong() {
        let check = |text: &str, part: &str| {
            let error = text.parse::<ImageSource>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("", "empty");
        check(&"a".repeat(501), "500");
        check(&format!("r.test/{}", "a".repeat(256)), "255");
        check("https://r.test/it", "https://");
        check("r.test/", "empty");
        check("r.test/Me/it", "lower case");
        check("r.test/a//b", "a//b");
        check("r.test/-a", "-a");
        check("r.test/a-", "a-");
        check("r.test/a___b", "a___b");
        check("r.test/a b", "a b");
        check("r.test/../b", "../b");
        check("r.test/a:", "empty");
        check("r.test/a:.v", ".v");
        check("r.test/a:v/1", "v/1");
        check("r.test/a@sha256:beef", "not a digest");
        check("r.test:99999/a", "port");
        check("r_x.test/a", "host name");
        check("-r.test/a", "host name");
        check("me@r.test/a", "not a digest");
        check("oci:images/it", "absolute");
        check("docker-archive:it.tar", "absolute");
    }

    #[test]
    fn a_digest_decides_over_a_tag() {
        let reference: Reference = "r.test/it:v1".parse().unwrap();
        assert_eq!(reference.version(), "v1");
        assert_eq!(reference.at(&DIGEST.parse().unwrap()).version(), DIGEST);
    }
}
