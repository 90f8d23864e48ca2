//! The ingress's certificate, issued by a real authority that asks a real DNS server, and what goes wrong on the way.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use testkit::acme::{Pebble, Visit, Zone};
use testkit::lab::eventually;
use testkit::server::{Server, Site};
use tokio::sync::Mutex;

const DOMAIN: &str = "sandbox.example.test";
/// Below the zone: where the authority looks.
const CHALLENGE: &str = "_acme-challenge.sandbox";
const KEY: &str = "the secret of updates";

/// A site, the zone of its domain, and an authority.
struct Stage {
    site: Site,
    zone: Zone,
    pebble: Pebble,
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let zone = Zone::start(KEY);
        let pebble = Pebble::start(&zone);
        Self::of(zone, pebble)
    }

    fn of(zone: Zone, pebble: Pebble) -> Self {
        let dir = tempfile::Builder::new().prefix("acme-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { site: Site::new(), zone, pebble, dir }
    }

    fn serve(&self, flags: &[&str]) -> Server {
        let signer = self.pebble.directory_signer().display().to_string();
        let directory = self.pebble.directory();
        let ours =
            ["--domain", DOMAIN, "--acme-accept-terms", "true", "--acme-directory", &directory, "--acme-ca"];
        self.site.serve(&[&ours[..], &[&signer], flags].concat())
    }

    /// Serves, with updates that are signed with this key.
    fn serve_with_updates(&self, key: &str) -> Server {
        let file = self.dir.path().join("key");
        fs::write(&file, format!("{}\n", Zone::encoded(key))).unwrap();
        let file = file.display().to_string();
        let zone = ["--acme-dns-rfc2136", self.zone.address(), "--acme-dns-zone", "example.test"];
        self.serve(&[&zone[..], &["--acme-dns-key-name", "acme", "--acme-dns-key-file", &file]].concat())
    }

    /// Serves, with a hook that does this.
    fn serve_with_hook(&self, script: &str) -> Server {
        let program = self.dir.path().join("hook");
        fs::write(&program, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        self.serve(&["--acme-dns-hook", &program.display().to_string(), "--acme-dns-wait-seconds", "0"])
    }

    /// A file that everybody may write.
    fn shared_file(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        path
    }

    /// Waits until clients who believe the authority are served.
    async fn await_certificate(&self, server: &Server) {
        let root = self.pebble.root();
        eventually("the certificate is served", async || visit(server, &root).await.is_ok()).await;
    }

    /// Waits until nothing is left of the proof.
    async fn await_cleanup(&self) {
        eventually("the records are gone", async || self.zone.texts(CHALLENGE).is_empty()).await;
    }

    /// The files below the directory of certificates by ACME.
    fn kept(&self) -> Vec<PathBuf> {
        let list =
            |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        list(&self.site.data().join("acme")).iter().flat_map(|dir| list(dir)).collect()
    }

    /// Whom clients are to believe while there is no certificate.
    fn own_root(&self) -> String {
        fs::read_to_string(self.site.data().join("tls/ca.pem")).unwrap()
    }
}

async fn visit(server: &Server, root: &str) -> std::io::Result<Visit> {
    Visit::start(server.ingress(), &format!("x.{DOMAIN}"), root).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_proven_by_updates_served_and_kept() {
    let mut stage = Stage::new();
    let server = stage.serve_with_updates(KEY);
    stage.await_certificate(&server).await;
    let root = stage.pebble.root();
    Visit::start(server.ingress(), DOMAIN, &root).await.unwrap();
    let issued = visit(&server, &root).await.unwrap().certificate();
    stage.await_cleanup().await;
    let kept = stage.kept();
    assert!(kept.iter().any(|path| path.ends_with("account.json")), "{kept:?}");
    for path in kept {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o600, "{}", path.display());
        assert_ne!(metadata.uid(), 0, "{}", path.display());
    }
    let metrics = server.api().get("/metrics").await.expect(200).body;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    let expiry =
        metrics.lines().find_map(|line| line.strip_prefix("atoll_ingress_certificate_expires_at_seconds "));
    assert!(expiry.unwrap().parse::<u64>().unwrap() > 1_800_000_000, "{metrics}");
    server.stop();

    // It is used at the next start, at once, and nobody is asked.
    stage.pebble.stop();
    stage.zone.stop();
    let server = stage.serve_with_updates(KEY);
    assert_eq!(visit(&server, &root).await.unwrap().certificate(), issued);
    server.stop();
    assert!(!stage.site.log().contains("no certificate was issued"), "{}", stage.site.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_proven_by_a_hook_that_is_asked_to_clean_up() {
    let stage = Stage::new();
    let calls = stage.shared_file("calls");
    let script = format!("echo \"$1 $2\" >>{}\n{}", calls.display(), stage.zone.hook(KEY));
    let server = stage.serve_with_hook(&script);
    stage.await_certificate(&server).await;
    stage.await_cleanup().await;
    let name = format!("_acme-challenge.{DOMAIN}");
    let told = fs::read_to_string(calls).unwrap();
    let calls = |verb: &str| told.lines().filter(|line| *line == format!("{verb} {name}")).count();
    assert!(calls("present") >= 2 && calls("present") == calls("cleanup"), "{told}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_told_and_our_own_certificate_is_served_until_it_is_mended() {
    let zone = Zone::start("another secret");
    let pebble = Pebble::start(&zone);
    let mut stage = Stage::of(zone, pebble);
    let server = stage.serve_with_updates(KEY);
    visit(&server, &stage.own_root()).await.unwrap();
    eventually("the reason is told", async || {
        let log = stage.site.log();
        log.contains("no certificate was issued")
            && log.contains("its key acme. has another secret than ours (BADSIG)")
    })
    .await;
    assert!(!stage.site.log().contains(&Zone::encoded(KEY)));
    visit(&server, &stage.own_root()).await.unwrap();
    stage.zone.change_key(KEY);
    stage.await_certificate(&server).await;
    stage.await_cleanup().await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_authority_says_is_told_and_its_proof_is_taken_back() {
    let stage = Stage::new();
    // It says that all is well, and does nothing.
    let calls = stage.shared_file("calls");
    let server = stage.serve_with_hook(&format!("echo \"$1\" >>{}\n", calls.display()));
    eventually("the reason is told", async || {
        let log = stage.site.log();
        log.contains("no certificate was issued")
            && log.contains("of sandbox.example.test: Error retrieving TXT records")
    })
    .await;
    let told = fs::read_to_string(&calls).unwrap();
    assert!(told.starts_with("present\npresent\ncleanup\ncleanup\n"), "{told}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_killed_in_the_middle_leaves_no_record_and_who_is_forgotten_begins_anew() {
    let mut stage = Stage::new();
    let (calls, held) = (stage.shared_file("calls"), stage.shared_file("held"));
    // The second call does not end as long as it is held.
    let script = format!(
        "{}echo \"$1 $3\" >>{calls}\n[ $(wc -l <{calls}) -ne 2 ] || while [ -e {held} ]; do sleep 0.05; done\n",
        stage.zone.hook(KEY),
        calls = calls.display(),
        held = held.display(),
    );
    let server = stage.serve_with_hook(&script);
    let told = || fs::read_to_string(&calls).unwrap();
    eventually("two records are there", async || told().lines().count() == 2).await;
    assert_eq!(stage.zone.texts(CHALLENGE).len(), 2);
    server.kill("acme");
    eventually("they are taken back", async || told().matches("cleanup").count() >= 2).await;
    fs::remove_file(&held).unwrap();
    stage.await_certificate(&server).await;
    stage.await_cleanup().await;
    for value in told().lines().filter_map(|line| line.strip_prefix("present ")) {
        assert!(told().contains(&format!("cleanup {value}")), "{}", told());
    }
    server.stop();

    // An authority that has lost its accounts gives us another one.
    let certificate = stage.kept().into_iter().find(|path| path.ends_with("certificate.pem")).unwrap();
    fs::remove_file(certificate).unwrap();
    stage.pebble.start_again();
    let server = stage.serve_with_hook(&stage.zone.hook(KEY));
    stage.await_certificate(&server).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_cuts_no_connection() {
    let zone = Zone::start(KEY);
    let pebble = Pebble::issuing_for(&zone, 24);
    let stage = Stage::of(zone, pebble);
    let server = stage.serve_with_updates(KEY);
    let root = stage.pebble.root();
    let first = Mutex::new(None);
    eventually("the certificate is served", async || {
        *first.lock().await = visit(&server, &root).await.ok();
        first.lock().await.is_some()
    })
    .await;
    let first = Mutex::new(first.into_inner().unwrap());
    let before = first.lock().await.ask().await.unwrap();
    assert!(before.starts_with("HTTP/1.1 4"), "{before}");
    eventually("another one is served", async || {
        // It is asked now and then, for a connection that says nothing is closed after a while.
        let mut first = first.lock().await;
        assert_eq!(first.ask().await.unwrap(), before);
        visit(&server, &root).await.is_ok_and(|visit| visit.certificate() != first.certificate())
    })
    .await;
    assert_eq!(first.lock().await.ask().await.unwrap(), before);
    server.stop();
}
