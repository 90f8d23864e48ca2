//! The real binary on a host in trouble: what is refused and how, what still works, and that it mends by itself when the
//! cause is gone.

use std::fs;
use std::os::unix::fs::MetadataExt;

use http::Method;
use serde_json::json;
use testkit::lab::eventually;
use testkit::server::Site;
use tests::crash::victims;
use tests::faults::{
    Descriptors, Disk, FewProcesses, Office, Refusal, flush, held, processor_ticks, threads,
};

/// Small enough to be filled in a moment, and large enough for all that is kept free.
const DISK_MIB: u64 = 96;

/// Room for what a sandbox is, and for what is kept of it.
const ROOMY_DISK_MIB: u64 = 1024;

/// What a server says that does not start.
fn refusal(site: &Site) -> String {
    let output = site.command().output().expect("it is started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it serves: {said}");
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
    said
}

/// Waits until the server holds room for a full disk.
async fn held_room(site: &Site) {
    eventually("room is held", async || site.data().join("control/ballast").exists()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_creates_are_refused_and_sandboxes_go_on_and_can_be_deleted() {
    let disk = Disk::new(DISK_MIB);
    let office = Office::open(Site::within(&disk.path()), &[]);
    let (kept, first, second) = (office.make().await, office.make().await, office.make().await);
    held_room(&office.site).await;
    let filler = disk.fill();

    let place = office.site.data().display().to_string();
    let told = office.create().await.refuses(507, "storage_full", &place);
    assert!(told.contains("MiB free") && told.contains("make room"), "{told}");
    let ready = office.get("/readyz").await.expect(503).json();
    assert!(ready["problems"].to_string().contains("MiB free"), "{ready}");
    office.get("/healthz").await.expect(200);
    assert_eq!(office.listed().await.len(), 3);
    assert_eq!(office.run(&kept, "echo on").await, "on\n");
    let metrics = office.get("/metrics").await.expect(200).body;
    assert!(String::from_utf8_lossy(&metrics).contains("atoll_disk_free_bytes"));
    office.delete(&first).await.expect(204);
    office.nothing_leaks().await;

    // What was held for this is taken as well: then nothing can be written at all.
    filler.grow();
    while office.ask(Method::POST, "/v1/team", json!({ "name": "x".repeat(60) })).await.status != 507 {
        filler.grow();
    }
    assert_eq!(office.run(&kept, "echo on").await, "on\n");
    let deleted = office.delete(&second).await;
    if deleted.status != 204 {
        deleted.refuses(507, "storage_full", "make room");
    }
    drop(filler);
    let made = office.recovered().await;
    office.delete(&second).await.expect(204);
    held_room(&office.site).await;

    let site = office.close();
    let office = Office::open(site, &[]);
    let mut expected = [kept.clone(), made];
    let mut listed = office.listed().await;
    expected.sort();
    listed.sort();
    assert_eq!(listed, expected, "what was acknowledged is so");
    assert_eq!(office.run(&kept, "echo on").await, "on\n");
    office.nothing_leaks().await;
    office.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_pauses_and_snapshots_are_refused_and_sandboxes_go_on() {
    let disk = Disk::new(ROOMY_DISK_MIB);
    let office = Office::open(Site::gvisor_within(&disk.path()).await, &[]);
    let id = office.make().await;
    office.run(&id, "head -c 3000000 /dev/urandom > file; md5sum file > sum; sync").await;
    held_room(&office.site).await;
    let [pause, snapshot] = ["pause", "snapshot/create"].map(|what| format!("/v1/sandbox/{id}/{what}"));
    let filler = disk.fill();
    for path in [&pause, &snapshot] {
        let refused = office.ask(Method::POST, path, json!({})).await;
        refused.refuses(507, "storage_full", "MiB free");
        assert_eq!(office.run(&id, "md5sum -c sum").await, "file: OK\n");
    }
    drop(filler);
    for path in [&snapshot, &pause] {
        office.ask(Method::POST, path, json!({})).await.expect(201);
        assert_eq!(office.run(&id, "md5sum -c sum").await, "file: OK\n");
    }
    office.delete(&id).await.expect(204);
    office.nothing_leaks().await;
    // What is plain for a moment is none of what a server leaves.
    let site = office.close();
    let plain = fs::read_dir(site.data().join("node/plain")).unwrap();
    assert_eq!(plain.count(), 0);
}

#[test]
fn a_server_does_not_start_on_a_full_disk_and_says_how_much_is_free() {
    let disk = Disk::new(DISK_MIB);
    let site = Site::within(&disk.path());
    let filler = disk.fill();
    let said = refusal(&site);
    assert!(said.contains(&site.data().display().to_string()) && said.contains("has 0 MiB free"), "{said}");
    drop(filler);
    site.serve(&[]).stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_delays_nobody_for_ever_and_loses_nothing() {
    let disk = Disk::new(DISK_MIB);
    let office = Office::open(Site::within(&disk.path()), &[]);
    let kept = office.make().await;
    let parts = ["control", "node"].map(|role| office.server.part(role).expect("it runs"));
    let before = parts.map(threads);
    let frozen = disk.freeze();
    let (answers, healthy) = tokio::join!(office.create_at_once(20), office.get("/healthz"));
    healthy.expect(200);
    for answer in answers {
        answer.refuses(503, "store_unavailable", "ask again");
    }
    let ready = office.get("/readyz").await.expect(503).json();
    assert!(ready["problems"].to_string().contains("did not answer"), "{ready}");
    for (part, before) in parts.into_iter().zip(before) {
        assert!(threads(part) <= before + 16, "{} threads after {before}", threads(part));
    }
    drop(frozen);
    let made = office.recovered().await;
    assert_eq!(office.run(&kept, "echo on").await, "on\n");
    // What was asked may have happened after all: then it is a sandbox like any other.
    let listed = office.listed().await;
    assert!(listed.contains(&kept) && listed.contains(&made), "{listed:?}");
    for id in listed {
        office.delete(&id).await.expect(204);
    }
    assert_eq!(office.listed().await, [] as [String; 0]);
    office.nothing_leaks().await;
    office.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_refuses_writes_is_told_and_served_again_once_it_is_mounted_anew() {
    let disk = Disk::new(DISK_MIB);
    let office = Office::open(Site::within(&disk.path()), &[]);
    let kept = office.make().await;
    disk.break_down();
    office.create().await.refuses(503, "store_unavailable", "refuses to be written");
    let ready = office.get("/readyz").await.expect(503).json();
    assert!(ready["problems"].to_string().contains("refuses to be written"), "{ready}");
    assert_eq!(office.listed().await, std::slice::from_ref(&kept));
    assert_eq!(office.run(&kept, "echo on").await, "on\n");
    office.delete(&kept).await.refuses(503, "store_unavailable", "refuses to be written");

    // The kernel lets nobody write who had it open before.
    let site = office.close();
    let said = refusal(&site);
    assert!(said.contains("cannot be written") && said.contains("mounted writable"), "{said}");
    disk.remount();
    let office = Office::open(site, &[]);
    assert_eq!(office.run(&kept, "echo on").await, "on\n");
    office.recovered().await;
    office.delete(&kept).await.expect(204);
    office.nothing_leaks().await;
    office.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_moved_away_or_held_is_told_and_used_again_when_it_is_back() {
    let office = Office::open(Site::new(), &[]);
    let kept = office.make().await;
    let database = office.site.data().join("control/atoll.sqlite");
    let elsewhere = database.with_extension("moved");
    fs::rename(&database, &elsewhere).unwrap();
    office.create().await.refuses(503, "store_unavailable", &database.display().to_string());
    let ready = office.get("/readyz").await.expect(503).json();
    assert!(ready["problems"].to_string().contains("put it back"), "{ready}");
    assert_eq!(office.run(&kept, "echo on").await, "on\n");
    fs::rename(&elsewhere, &database).unwrap();
    let made = office.recovered().await;

    let holder = held(&database);
    office.create().await.refuses(503, "store_unavailable", "something else holds it");
    office.delete(&made).await.refuses(503, "store_unavailable", "something else holds it");
    assert_eq!(office.listed().await.len(), 2, "it is read all the same");
    drop(holder);
    office.recovered().await;
    office.delete(&made).await.expect(204);
    assert_eq!(office.run(&kept, "echo on").await, "on\n");
    office.nothing_leaks().await;
    office.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_database_or_with_a_damaged_one_touches_nothing() {
    let office = Office::open(Site::new(), &[]);
    let kept = office.make().await;
    let site = office.close();
    let control = site.data().join("control");
    let (database, elsewhere) = (control.join("atoll.sqlite"), control.join("elsewhere"));
    fs::rename(&database, &elsewhere).unwrap();
    let said = refusal(&site);
    assert!(said.contains(&database.display().to_string()) && said.contains("put it back"), "{said}");
    assert!(!database.exists(), "a new one was made");

    let garbage = vec![b'x'; 100_000];
    fs::write(&database, &garbage).unwrap();
    std::os::unix::fs::chown(&database, Some(fs::metadata(&elsewhere).unwrap().uid()), None).unwrap();
    let said = refusal(&site);
    assert!(said.contains("put a backup in its place"), "{said}");
    assert_eq!(fs::read(&database).unwrap(), garbage, "it was changed");

    fs::rename(&elsewhere, &database).unwrap();
    let office = Office::open(site, &[]);
    assert_eq!(office.listed().await, std::slice::from_ref(&kept));
    assert_eq!(office.run(&kept, "echo on").await, "on\n");
    office.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_callers_wait_or_are_refused_and_no_part_spins_or_ends() {
    // Root's, so that whoever tells the story may limit it.
    let office = Office::open(Site::new(), &["--service-uid", "0"]);
    let kept = office.make().await;
    let [control, node] = ["control", "node"].map(|role| office.server.part(role).expect("it runs"));

    let few = Descriptors::limit(control, 0);
    let address = office.server.url().trim_start_matches("http://").to_owned();
    let callers: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    let ticks = processor_ticks(control);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let taken = processor_ticks(control) - ticks;
    assert!(taken < 50, "it took {taken} ticks of 100 while nobody could be served");
    drop((few, callers));
    assert_eq!(office.run(&kept, "echo on").await, "on\n");

    let few = Descriptors::limit(node, 0);
    let refused = office.create().await;
    assert!(refused.status.is_server_error(), "{}", refused.status);
    drop(few);
    let made = office.recovered().await;
    for id in [&kept, &made] {
        assert_eq!(office.run(id, "echo on").await, "on\n");
    }
    assert_eq!(["control", "node"].map(|role| office.server.part(role)), [Some(control), Some(node)]);
    office.nothing_leaks().await;
    office.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_the_host_does_not_have_is_not_promised() {
    let office = Office::open(Site::new(), &["--memory-mib-max", "1024"]);
    let (first, _) = (office.make().await, office.make().await);
    office.create().await.refuses(503, "no_capacity", "512 MiB");
    office.delete(&first).await.expect(204);
    office.make().await;
    office.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_processes_a_create_fails_at_a_step_and_leaves_nothing() {
    let office = Office::open(Site::gvisor().await, &[]);
    let kept = office.make().await;
    let node = office.server.part("node").expect("it runs");
    let launcher = victims::launcher(&office.site).expect("it runs");
    let few = FewProcesses::limit(&[node, launcher], 2);
    let refused = office.create().await;
    let said = refused.expect(500).json();
    assert_eq!(said["code"], "create_failed", "{said}");
    assert!(said["message"].as_str().unwrap().contains("failed at step `"), "{said}");
    assert_eq!(office.run(&kept, "echo on").await, "on\n");
    drop(few);
    office.recovered().await;
    assert_eq!(office.run(&kept, "echo on").await, "on\n");
    assert_eq!(office.listed().await.len(), 2);
    assert_eq!(victims::launcher(&office.site), Some(launcher), "it is the same one");

    // One is enough to be asked, and too few to do anything.
    let few = Descriptors::limit(launcher, 1);
    let said = office.create().await.expect(500).json();
    assert!(said["message"].as_str().unwrap().contains("Too many open files"), "{said}");
    drop(few);
    office.recovered().await;
    assert_eq!(victims::launcher(&office.site), Some(launcher), "it is the same one");
    for id in office.listed().await {
        office.delete(&id).await.expect(204);
    }
    office.nothing_leaks().await;
    office.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_whose_disk_the_host_cannot_keep_ends_with_evidence_and_the_others_go_on() {
    let disk = Disk::new(2 * DISK_MIB);
    let office = Office::open(Site::gvisor_within(&disk.path()).await, &[]);
    let (greedy, calm) = (office.make().await, office.make().await);
    // More than the host has: nobody inside is told, as what is written is in memory first.
    office.run(&greedy, "head -c 300000000 /dev/urandom > /workspace/much; echo ok").await;
    flush(&greedy);
    let path = format!("/v1/sandbox/{greedy}");
    eventually("it has ended", async || office.get(&path).await.expect(200).json()["state"] == "deleted")
        .await;
    let ended = office.get(&path).await.json();
    assert_eq!(ended["reason"], "disk_full", "{ended}");
    assert!(ended["reason_detail"].as_str().unwrap().contains("could not keep"), "{ended}");
    let events = office.get(&format!("/v1/sandbox/{greedy}/events")).await.expect(200).json();
    assert!(events.to_string().contains("disk_full"), "{events}");
    assert_eq!(office.run(&calm, "echo on > /workspace/x; cat /workspace/x").await, "on\n");
    let made = office.recovered().await;
    for id in [calm, made] {
        office.delete(&id).await.expect(204);
    }
    office.nothing_leaks().await;
    office.close();
}
