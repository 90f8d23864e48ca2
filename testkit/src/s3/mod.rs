//! An S3-compatible store for tests: signatures are verified, lists come in pages, and goes wrong as a test asks for.
//!
//! ```no_run
//! # async fn story() {
//! use testkit::s3::{Fault, S3};
//! let s3 = S3::start().await;
//! let settings = s3.settings("a/prefix"); // for `artifact::snapshot::Place::Bucket`
//! s3.fault("PUT", "packs/", 1, Fault::SlowDown);
//! # }
//! ```

mod fault;
mod serve;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use artifact::oci::settings::Patience;
use artifact::snapshot::{BucketSettings, PATIENCE};
use bytes::Bytes;
use tempfile::TempDir;

pub use self::fault::Fault;

use self::fault::Faults;
use crate::web::{Asked, Web};

/// The bucket's name.
const BUCKET: &str = "it";
const REGION: &str = "eu-test-1";
/// Objects in one page of a list: few, so that tests see several.
const PAGE_OBJECTS: usize = 5;

/// The store, with one bucket. Gone when dropped.
#[derive(Debug)]
pub struct S3 {
    shared: Arc<Shared>,
    web: Web,
    credentials: TempDir,
}

/// What the server sees.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    faults: Faults,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    is_gone: bool,
    /// The one that is good.
    secret: String,
    asked: Vec<(String, String)>,
    refusals: Vec<String>,
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Bytes,
    modified: SystemTime,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl S3 {
    /// Starts it, without TLS.
    ///
    /// # Panics
    /// When there is no place for its credentials.
    pub async fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let server = shared.clone();
        let web = Web::start(None, move |asked: Asked| {
            let server = server.clone();
            async move { serve::answer_to(&server, asked).await }
        })
        .await;
        let s3 = Self { shared, web, credentials: tempfile::tempdir().expect("a directory") };
        s3.change_key("a/secret+key");
        s3.write_credentials("a/secret+key");
        s3
    }

    /// What a node must be told to keep its snapshots there, and impatient enough for tests.
    pub fn settings(&self, prefix: &str) -> BucketSettings {
        BucketSettings {
            endpoint: format!("http://{}", self.web.address()),
            region: REGION.into(),
            bucket: BUCKET.into(),
            prefix: prefix.into(),
            path_style: true,
            credentials_file: self.credentials.path().join("credentials"),
            authority_file: None,
            patience: Patience {
                answer: Duration::from_secs(5),
                window: Duration::from_secs(1),
                pause: Duration::from_millis(1),
                pause_max: Duration::from_millis(20),
                ..PATIENCE
            },
        }
    }

    /// The names of all objects that begin so.
    pub fn objects(&self, prefix: &str) -> Vec<String> {
        self.shared.lock().objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// An object's bytes.
    ///
    /// # Panics
    /// When there is none.
    pub fn read(&self, key: &str) -> Bytes {
        self.shared.lock().objects.get(key).expect("there is such an object").bytes.clone()
    }

    /// Puts an object there, whoever may.
    pub fn write(&self, key: &str, bytes: impl Into<Bytes>) {
        let object = Object { bytes: bytes.into(), modified: SystemTime::now() };
        self.shared.lock().objects.insert(key.to_owned(), object);
    }

    /// Loses an object.
    pub fn delete(&self, key: &str) {
        self.shared.lock().objects.remove(key);
    }

    /// Makes all objects whose names begin so this old.
    pub fn age(&self, prefix: &str, by: Duration) {
        let mut state = self.shared.lock();
        let meant = state.objects.iter_mut().filter(|(key, _)| key.starts_with(prefix));
        meant.for_each(|(_, object)| object.modified = SystemTime::now() - by);
    }

    /// Takes the bucket away, or brings it back.
    pub fn lose_bucket(&self, is_gone: bool) {
        self.shared.lock().is_gone = is_gone;
    }

    /// Another key is good from now on.
    pub fn change_key(&self, secret: &str) {
        self.shared.lock().secret = secret.to_owned();
    }

    /// Writes this key to the file of [`S3::settings`].
    ///
    /// # Panics
    /// When that is not possible.
    pub fn write_credentials(&self, secret: &str) {
        let text =
            format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {secret}\n", serve::KEY_ID);
        std::fs::write(self.credentials.path().join("credentials"), text).expect("it can be written");
    }

    /// The next requests of this method, so many, whose path or query has this part in it, go wrong so.
    pub fn fault(&self, method: &str, part: &str, times: usize, fault: Fault) {
        self.shared.faults.plan(method, part, times, fault);
    }

    /// About one request of so many goes wrong somehow from now on, the same ones for the same seed.
    pub fn shake(&self, seed: u64, one_of: u64) {
        self.shared.faults.shake(seed, one_of);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.shared.faults.clear();
    }

    /// How often it was asked with this method for something whose path or query has this part in it.
    pub fn count(&self, method: &str, part: &str) -> usize {
        let state = self.shared.lock();
        state.asked.iter().filter(|(asked, what)| asked == method && what.contains(part)).count()
    }

    /// What it found wrong with requests so far.
    pub fn refusals(&self) -> Vec<String> {
        self.shared.lock().refusals.clone()
    }
}
