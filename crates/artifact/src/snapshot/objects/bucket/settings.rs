//! What an operator says of a bucket.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::oci;
use crate::oci::settings::{Authority, Patience};
use crate::snapshot::error::{Error, Result};

/// A bucket of an S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSettings {
    /// Where the service is, such as `https://s3.eu-central-1.amazonaws.com`. Without TLS (`http://`), who listens sees
    /// names and sizes, and nothing that is in them.
    pub endpoint: String,
    /// What requests are signed for.
    pub region: String,
    /// The bucket, which is there already.
    pub bucket: String,
    /// What all names begin with, such as `atoll/snapshots`. May be empty.
    pub prefix: String,
    /// Whether the bucket is named in the path, as most services besides AWS's want it, and not in the host's name.
    pub path_style: bool,
    /// A file in the format of `~/.aws/credentials`, of which the first profile counts. Read again when what it says is
    /// refused.
    pub credentials_file: PathBuf,
    /// Certificates in PEM that the service's is signed with, where it is not one that this machine believes.
    pub authority_file: Option<PathBuf>,
    /// How long the service is waited for, and how often it is tried.
    pub patience: Patience,
}

/// How long a bucket is waited for: a pack that cannot be sent in a minute and a half is tried again.
pub const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(10),
    answer: Duration::from_secs(90),
    window: Duration::from_secs(30),
    window_bytes_min: 64 << 10,
    retries_max: 6,
    pause: Duration::from_millis(200),
    pause_max: Duration::from_secs(20),
};

impl BucketSettings {
    /// The URL that names of objects are appended to, and what is in front of them in lists.
    pub(super) fn base(&self) -> Result<(Url, String)> {
        let prefix = self.prefix.trim_matches('/');
        let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c));
        if !is_plain(prefix) || !is_plain(&self.bucket) || self.bucket.is_empty() || self.bucket.contains('/')
        {
            return Err(wrong(
                "the bucket and the prefix have letters, digits, dots, dashes and underscores",
            ));
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let mut url = Url::parse(&self.endpoint).map_err(|error| wrong(format!("the endpoint: {error}")))?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")).unwrap_or_default();
        if host.is_empty() || url.query().is_some() || !url.username().is_empty() {
            return Err(wrong("the endpoint is the address of a service, such as https://s3.example"));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        if self.path_style {
            url.set_path(&format!("{path}/{}/", self.bucket));
        } else {
            let host = format!("{}.{host}", self.bucket);
            url.set_host(Some(&host)).map_err(|error| wrong(format!("{host}: {error}")))?;
            url.set_path(&format!("{path}/"));
        }
        Ok((url, prefix))
    }

    /// How the service is spoken to.
    pub(super) fn http(&self, url: &Url) -> Result<oci::Settings> {
        let authority = |file: &PathBuf| {
            let text = format!("{}={}", url.authority(), file.display());
            text.parse::<Authority>().map_err(wrong)
        };
        let authorities = self.authority_file.iter().map(authority).collect::<Result<_>>()?;
        Ok(oci::Settings { authorities, patience: self.patience.clone(), ..oci::Settings::default() })
    }
}

/// What proves who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub key_id: String,
    pub secret: String,
    /// Of keys that last for a while.
    pub session: Option<String>,
}

impl Credentials {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .map_err(|error| wrong(format!("the credentials file {}: {error}", path.display())))?;
        parse(&text).ok_or_else(|| {
            wrong(format!("{} has no aws_access_key_id and aws_secret_access_key", path.display()))
        })
    }
}

/// The first profile's.
fn parse(text: &str) -> Option<Credentials> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    let mut lines = lines.skip_while(|line| line.starts_with('[')).take_while(|line| !line.starts_with('['));
    let fields: Vec<_> = lines.by_ref().filter_map(|line| line.split_once('=')).collect();
    let field = |name: &str| {
        let found = fields.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    Some(Credentials {
        key_id: field("aws_access_key_id")?,
        secret: field("aws_secret_access_key")?,
        session: field("aws_session_token"),
    })
}

fn wrong(problem: impl Into<String>) -> Error {
    Error::Settings { problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: &str, prefix: &str, path_style: bool) -> BucketSettings {
        BucketSettings {
            endpoint: endpoint.into(),
            region: "eu-central-1".into(),
            bucket: "it".into(),
            prefix: prefix.into(),
            path_style,
            credentials_file: "none".into(),
            authority_file: None,
            patience: PATIENCE,
        }
    }

    #[test]
    fn a_bucket_is_in_the_path_or_in_the_name_of_the_host() {
        let base = |endpoint, prefix, path_style| {
            let (url, prefix) = settings(endpoint, prefix, path_style).base().unwrap();
            format!("{url} {prefix}")
        };
        assert_eq!(base("http://127.0.0.1:9000", "/a/b/", true), "http://127.0.0.1:9000/it/ a/b/");
        assert_eq!(base("https://s3.test/x/", "", true), "https://s3.test/x/it/ ");
        assert_eq!(base("https://s3.test", "a", false), "https://it.s3.test/ a/");
        for endpoint in ["", "s3.test", "ftp://s3.test", "https://me@s3.test", "https://s3.test?x"] {
            assert!(settings(endpoint, "", true).base().is_err(), "{endpoint}");
        }
        assert!(settings("https://s3.test", "a b", true).base().is_err());
    }

    #[test]
    fn of_a_file_of_credentials_the_first_profile_counts() {
        let text = "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=b=c\n\n[other]\naws_session_token=x\n";
        let credentials = parse(text).expect("it has a profile");
        assert_eq!((credentials.key_id.as_str(), credentials.secret.as_str()), ("A", "b=c"));
        assert!(credentials.session.is_none());
        assert!(parse("[default]\naws_access_key_id = A\n").is_none());
    }
}
