use super::*;
use artifact::snapshot::{KeyRing, Place};
use std::collections::BTreeMap;
use wire::image::Digest;
use wire::sandbox::Resources;

fn vault(dir: &Path) -> Arc<Vault> {
    let keys = KeyRing::parse(&format!("k {}", "11".repeat(32))).unwrap();
    let settings = Settings { place: Place::Disk(dir.join("snapshots")), keys };
    Arc::new(Vault::open(dir.join("plain"), settings).unwrap())
}

fn some_facts() -> Facts {
    Facts {
        engine: "fake".into(),
        engine_version: "1".into(),
        engine_flags: Vec::new(),
        cpu_features: Vec::new(),
        image: Digest::from_sha256([1; 32]),
        resources: Resources { vcpu: 1, memory_mib: 512, disk_mib: 1024, processes_max: 10 },
        agent_generation: 1,
        created_at_ms: 1,
        sandbox: "sbx".into(),
        more: BTreeMap::new(),
    }
}

async fn kept(vault: &Arc<Vault>, text: &str) -> Root {
    let files = Arc::new(vault.draft().unwrap());
    fs::write(files.dir().join("pages"), text).unwrap();
    vault.keep(&files, some_facts()).await.unwrap().0
}

fn text_of(files: &Files) -> String {
    fs::read_to_string(files.dir().join("pages")).unwrap()
}

/// Waits until nothing is plain; those who let go do not wait for the disk.
async fn all_gone(dir: &Path) {
    for _ in 0..1000 {
        if fs::read_dir(dir.join("plain")).unwrap().next().is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("plain files stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_comes_back_once_for_all_who_want_it_and_goes_with_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let vault = vault(dir.path());
    let root = kept(&vault, "one").await;
    all_gone(dir.path()).await;
    let (first, second) = tokio::join!(vault.fetch(root), vault.fetch(root));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((text_of(&first), first.dir()), ("one".into(), second.dir()));
    drop(first);
    assert_eq!(text_of(&second), "one");
    drop(second);
    all_gone(dir.path()).await;
    assert_eq!(text_of(&vault.fetch(root).await.unwrap()), "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_just_taken_is_not_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let vault = vault(dir.path());
    let files = Arc::new(vault.draft().unwrap());
    fs::write(files.dir().join("pages"), "one").unwrap();
    let (root, _) = vault.keep(&files, some_facts()).await.unwrap();
    let place = files.dir().to_owned();
    vault.leave(root, files).await;
    assert_eq!(vault.fetch(root).await.unwrap().dir(), place);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_leaves_nothing_plain_and_everything_kept() {
    let dir = tempfile::tempdir().unwrap();
    let before = vault(dir.path());
    let root = kept(&before, "one").await;
    let let_go_late = before.fetch(root).await.unwrap();
    let after = vault(dir.path());
    assert!(fs::read_dir(dir.path().join("plain")).unwrap().next().is_none());
    let files = after.fetch(root).await.unwrap();
    assert_eq!(text_of(&files), "one");
    assert_ne!(files.dir(), let_go_late.dir(), "it would go with what is let go of late");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_or_damaged_is_refused_and_what_nobody_needs_is_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let vault = vault(dir.path());
    let (live, dead) = (kept(&vault, "live").await, kept(&vault, "dead").await);
    let prune = |dry_run| PruneSnapshots { keep: vec![live], age_seconds_min: 0, dry_run };
    let would = vault.prune(prune(true)).await.unwrap();
    assert!(would.items.iter().any(|item| item.name == dead.to_string()), "{would:?}");
    assert_eq!(text_of(&vault.fetch(dead).await.unwrap()), "dead");
    assert_eq!(vault.prune(prune(false)).await.unwrap().items.len(), would.items.len());
    assert_eq!(vault.fetch(dead).await.unwrap_err().code, NodeErrorCode::NotFound);
    let packs = fs::read_dir(dir.path().join("snapshots/packs")).unwrap();
    for pack in packs {
        let path = pack.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 1);
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(vault.fetch(live).await.unwrap_err().code, NodeErrorCode::Unusable);
    all_gone(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_lost_keeps_nobody_from_opening_and_is_used_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("snapshots"), "in the way").unwrap();
    let vault = vault(dir.path());
    let files = Arc::new(vault.draft().unwrap());
    fs::write(files.dir().join("pages"), "one").unwrap();
    assert_eq!(vault.keep(&files, some_facts()).await.unwrap_err().code, NodeErrorCode::Internal);
    fs::remove_file(dir.path().join("snapshots")).unwrap();
    let (root, bytes) = vault.keep(&files, some_facts()).await.unwrap();
    assert_eq!(bytes, 3);
    assert!(vault.facts(root).await.is_ok() && vault.rewrap().await.unwrap() == 0);
    vault.remove(root).await.unwrap();
    vault.remove(root).await.unwrap();
}
