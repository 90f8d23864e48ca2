//! A bucket of an S3-compatible store.

mod client;
mod packs;
mod settings;
mod xml;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, mpsc};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use super::{FORMAT_FILE, Kind, Listed, PackName, Part, Put};
use crate::snapshot::error::{Error, Result};
use client::{ANSWER_BYTES_MAX, Answered, Client, Request};
pub(super) use packs::BucketPacks;
pub use settings::{BucketSettings, PATIENCE};

/// Parts of packs that are fetched at once for one snapshot, of [`PART_BYTES_MAX`] each at most.
pub(super) const READERS: usize = 8;
/// Bytes fetched at once where chunks lie beside each other.
pub(super) const PART_BYTES_MAX: usize = 4 << 20;
/// Packs that are sent at once, by all stores of this process; see [`packs`].
const UPLOADS_MAX: usize = 4;
/// Manifests read at the start, so that what they have is not sent again: each is a request.
pub(super) const LEARNT_MAX: usize = 64;
/// Bytes of an object that is read at once: anything but packs.
const OBJECT_BYTES_MAX: usize = 256 << 20;
/// Threads that speak to the service, and hash what is sent.
const THREADS: usize = 2;

/// Objects in a bucket.
pub(in crate::snapshot) struct Bucket {
    client: Arc<Client>,
    prefix: String,
    uploads: Arc<Semaphore>,
    /// There until this is dropped. Its own, so that callers need none.
    runtime: Option<Runtime>,
}

impl Bucket {
    pub(in crate::snapshot) fn open(settings: &BucketSettings) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("snapshots")
            .enable_all()
            .build()
            .map_err(|source| Error::Io { what: "start threads".into(), source })?;
        let (_, prefix) = settings.base()?;
        let client = Arc::new(Client::new(settings)?);
        Ok(Self { client, prefix, uploads: Arc::new(Semaphore::new(UPLOADS_MAX)), runtime: Some(runtime) })
    }

    pub(super) fn place(&self) -> &str {
        self.client.place()
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Result<Option<Vec<u8>>> {
        let mut request = self.request(Method::GET, kind, name);
        request.answer_bytes_max = OBJECT_BYTES_MAX;
        let answered = self.ask(request)?;
        if answered.status == StatusCode::NOT_FOUND {
            return self.check_is_there(kind).map(|()| None);
        }
        Ok(Some(answered.body.into()))
    }

    pub(super) fn put(&self, kind: Kind, name: &str, bytes: Vec<u8>, how: Put) -> Result<bool> {
        let mut request = self.request(Method::PUT, kind, name);
        request.body = bytes.into();
        if how == Put::New {
            request.headers.push(("if-none-match", "*".into()));
        }
        Ok(self.ask(request)?.status.is_success())
    }

    pub(super) fn delete(&self, kind: Kind, name: &str) -> Result<()> {
        self.ask(self.request(Method::DELETE, kind, name)).map(drop)
    }

    pub(super) fn list(&self, kind: Kind) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        let mut next = None;
        loop {
            let mut request = Request::new(Method::GET, String::new());
            request.query.extend(next.map(|token| ("continuation-token", token)));
            request.query.push(("list-type", "2".into()));
            request.query.push(("prefix", format!("{}{}", self.prefix, kind.dir())));
            let answered = self.ask(request)?;
            let text = String::from_utf8_lossy(&answered.body);
            listed.extend(xml::all(&text, "Contents").filter_map(|item| self.listed(kind, item)));
            if xml::first(&text, "IsTruncated") != Some("true") {
                break;
            }
            let token = xml::first(&text, "NextContinuationToken").map(xml::plain);
            let token = token.ok_or_else(|| self.client.unreachable("a list ends in the middle".into()))?;
            next = Some(token);
        }
        if listed.is_empty() {
            self.check_is_there(kind)?;
        }
        Ok(listed)
    }

    fn listed(&self, kind: Kind, item: &str) -> Option<Listed> {
        let key = xml::plain(xml::first(item, "Key")?);
        let name = key.strip_prefix(&self.prefix)?.strip_prefix(kind.dir())?;
        let modified: jiff::Timestamp = xml::first(item, "LastModified")?.parse().ok()?;
        let bytes = xml::first(item, "Size")?.parse().ok()?;
        let modified = SystemTime::from(modified);
        (!name.contains('/')).then(|| Listed { name: name.to_owned(), bytes, modified })
    }

    pub(super) fn lacking(&self, packs: &BTreeSet<PackName>) -> Result<Vec<PackName>> {
        if packs.is_empty() {
            return Ok(vec![]);
        }
        let listed = self.list(Kind::Packs)?;
        let there: BTreeSet<PackName> = listed.iter().filter_map(|listed| listed.name.parse().ok()).collect();
        Ok(packs.difference(&there).copied().collect())
    }

    pub(super) fn read(&self, pack: PackName, offset: u64, buffer: &mut [u8]) -> Result<Part> {
        let mut request = self.request(Method::GET, Kind::Packs, &pack.to_string());
        request.headers.push(("range", format!("bytes={offset}-{}", offset + buffer.len() as u64 - 1)));
        request.answer_bytes_max = buffer.len().max(ANSWER_BYTES_MAX);
        let answered = self.ask(request)?;
        match answered.status {
            StatusCode::NOT_FOUND => self.check_is_there(Kind::Packs).map(|()| Part::Missing),
            StatusCode::PARTIAL_CONTENT if answered.body.len() == buffer.len() => {
                buffer.copy_from_slice(&answered.body);
                Ok(Part::Whole)
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(Part::Short),
            status => {
                Err(self.client.unreachable(format!("a part of packs/{pack} was answered with {status}")))
            }
        }
    }

    pub(super) fn packs(&self, batch: u128) -> BucketPacks<'_> {
        BucketPacks::begin(self, batch)
    }

    /// Nothing of ours can be missing in a store that is not there at all.
    fn check_is_there(&self, kind: Kind) -> Result<()> {
        if matches!(kind, Kind::Top | Kind::Keys) {
            return Ok(());
        }
        let answered = self.ask(self.request(Method::HEAD, Kind::Top, FORMAT_FILE))?;
        let lost = || Error::Lost { place: self.place().to_owned(), why: "its objects are not there".into() };
        if answered.status.is_success() { Ok(()) } else { Err(lost()) }
    }

    fn request(&self, method: Method, kind: Kind, name: &str) -> Request {
        Request::new(method, format!("{}{}{name}", self.prefix, kind.dir()))
    }

    fn ask(&self, request: Request) -> Result<Answered> {
        let client = self.client.clone();
        self.wait(async move { client.ask(&request).await })
    }

    /// Waits for what the runtime does. Never on one of its own threads, and on any other without a fuss.
    fn wait<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let (teller, hearer) = mpsc::channel();
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                // Whoever waited may be gone.
                let _ = teller.send(work.await);
            });
        }
        hearer
            .recv()
            .unwrap_or_else(|_| Err(self.client.unreachable("the thread that spoke to it died".into())))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // Dropping it would wait, which not every thread may.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Sends a pack.
async fn upload(client: Arc<Client>, key: String, bytes: Bytes) -> Result<()> {
    let mut request = Request::new(Method::PUT, key);
    request.body = bytes;
    client.ask(&request).await.map(drop)
}
