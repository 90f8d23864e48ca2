//! Where snapshots are kept, and with what they are sealed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use artifact::snapshot::{self, BucketSettings, KeyRing, PATIENCE, Place};
use serde::{Deserialize, Serialize};

use super::layout::{Layout, read_or_make};
use super::settings::Settings;
use crate::entropy;

/// The region that requests are signed for where nobody says another.
const REGION: &str = "us-east-1";

/// What the node is told of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Orders {
    dir: PathBuf,
    bucket: Option<BucketSettings>,
    /// The node's own keys, made at its first start.
    own_keys: PathBuf,
    /// The operator's, which come first.
    keys: Option<PathBuf>,
}

/// The bucket that is set, if one is.
///
/// # Errors
/// When something is missing that a bucket needs.
pub fn bucket(settings: &Settings) -> Result<Option<BucketSettings>> {
    let Some(bucket) = &settings.snapshot_bucket else { return Ok(None) };
    let (bucket, prefix) = bucket.split_once('/').unwrap_or((bucket, ""));
    let (Some(endpoint), Some(credentials_file)) =
        (&settings.snapshot_endpoint, &settings.snapshot_credentials_file)
    else {
        bail!("--snapshot-bucket needs --snapshot-endpoint and --snapshot-credentials-file");
    };
    if settings.secrets_key_file.is_none() {
        bail!(
            "--snapshot-bucket needs --secrets-key-file: without this machine's own keys nobody could read the bucket"
        );
    }
    Ok(Some(BucketSettings {
        endpoint: endpoint.clone(),
        region: settings.snapshot_region.clone().unwrap_or_else(|| REGION.into()),
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        path_style: settings.snapshot_path_style.unwrap_or(true),
        credentials_file: std::path::absolute(credentials_file)?,
        authority_file: settings.snapshot_ca.as_deref().map(std::path::absolute).transpose()?,
        patience: PATIENCE,
    }))
}

impl Orders {
    /// What the settings say.
    ///
    /// # Errors
    /// When a path has no absolute form.
    pub fn of(layout: &Layout, bucket: Option<BucketSettings>, keys: Option<&Path>) -> Result<Self> {
        let keys = keys.map(std::path::absolute).transpose()?;
        Ok(Self {
            dir: layout.node_dir("snapshots"),
            bucket,
            own_keys: layout.node_dir("snapshot-keys"),
            keys,
        })
    }

    /// As the store takes it. Makes the node's own keys if there are none.
    ///
    /// # Errors
    /// When keys cannot be read, made or understood.
    pub fn settings(&self) -> Result<snapshot::Settings> {
        let own = read_or_make(&self.own_keys, 0o600, own_key)?;
        let text = match &self.keys {
            None => own,
            Some(path) => {
                let text = fs::read_to_string(path)
                    .with_context(|| format!("the secrets key file {} cannot be read", path.display()))?;
                format!("{text}\n{own}\n")
            }
        };
        let keys = KeyRing::parse(&text).map_err(anyhow::Error::msg).context("the keys of snapshots")?;
        let place = match &self.bucket {
            Some(bucket) => Place::Bucket(Box::new(bucket.clone())),
            None => Place::Disk(self.dir.clone()),
        };
        Ok(snapshot::Settings { place, keys })
    }
}

fn own_key() -> Result<String> {
    let (id, key): ([u8; 4], [u8; 32]) = (entropy::bytes()?, entropy::bytes()?);
    Ok(format!("node-{} {}", hex(&id), hex(&key)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_needs_what_makes_it_readable_elsewhere() {
        let bare = Settings { snapshot_bucket: Some("sandboxes/eu".into()), ..Settings::default() };
        assert!(bucket(&bare).unwrap_err().to_string().contains("--snapshot-endpoint"));
        let without_keys = Settings {
            snapshot_endpoint: Some("https://s3.example".into()),
            snapshot_credentials_file: Some("/etc/atoll/s3".into()),
            ..bare
        };
        assert!(bucket(&without_keys).unwrap_err().to_string().contains("--secrets-key-file"));
        let whole = Settings { secrets_key_file: Some("/etc/atoll/keys".into()), ..without_keys };
        let bucket = bucket(&whole).unwrap().unwrap();
        assert_eq!((bucket.bucket.as_str(), bucket.prefix.as_str()), ("sandboxes", "eu"));
        assert_eq!((bucket.region.as_str(), bucket.path_style), (REGION, true));
    }

    #[test]
    fn the_operators_keys_come_first_and_the_nodes_own_stay() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(&dir.path().join("data"), &dir.path().join("run")).unwrap();
        let keys = |file: Option<&Path>| {
            let settings = Orders::of(&layout, None, file).unwrap().settings().unwrap();
            format!("{:?}", settings.keys)
        };
        let own = keys(None);
        assert_eq!(keys(None), own);
        let file = dir.path().join("keys");
        fs::write(&file, format!("mine {}\n", "ab".repeat(32))).unwrap();
        let both = keys(Some(&file));
        let own = own.trim_start_matches("KeyRing([").trim_end_matches("])");
        assert_eq!(both, format!("KeyRing([\"mine\", {own}])"));
    }
}
