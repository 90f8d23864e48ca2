//! Registries that break off, lie, are busy, or never come to an end; and nodes that are killed meanwhile.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use artifact::oci::Settings;
use artifact::oci::settings::Patience;
use testkit::lab::eventually;
use testkit::registry::{Fault, Image, Layer, Packing, Registry};
use tokio::sync::Notify;
use wire::node::PullFailureCode;

use crate::desk::{Desk, open, refusal};

const BYTES: usize = 600_000;

/// An image of one large layer, and that layer's name.
fn push(registry: &Registry) -> (String, String) {
    let content: Vec<u8> = (0..BYTES).map(|at| (at * 7 % 251) as u8).collect();
    let image = Image::new().layer(Layer::new().file("large", content).packing(Packing::Plain));
    registry.push("me/it:v1", &image);
    (format!("{}/me/it:v1", registry.address()), image.stored().layers[0].to_string())
}

/// Where in the layer each request for it began.
fn starts(registry: &Registry, layer: &str) -> Vec<u64> {
    let requests = registry.requests();
    let of_layer = requests.iter().filter(|asked| asked.uri.path().ends_with(layer));
    of_layer
        .map(|asked| {
            asked.header("range").map_or(0, |range| range[6..].trim_end_matches('-').parse().unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_is_gone_on_with_where_it_broke() {
    let registry = Registry::start().await;
    let (source, layer) = push(&registry);
    for at in [100_000, 0, 200_000] {
        registry.fault(&layer, 1, Fault::BreakAfter(at));
    }
    let desk = Desk::new(registry.settings());
    let built = desk.pull(&source).await.unwrap();
    assert!(desk.has(&built, "large"));
    let starts = starts(&registry, &layer);
    assert_eq!(starts.len(), 4, "{starts:?}");
    assert!(starts.is_sorted() && starts[1] > 0 && starts[3] > starts[1], "{starts:?}");
    assert_eq!(desk.layers(), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_sends_no_parts_sends_all_again() {
    let registry = Registry::start().await;
    let (source, layer) = push(&registry);
    registry.fault(&layer, 1, Fault::BreakAfter(300_000));
    registry.fault(&layer, 1, Fault::NoRange);
    let desk = Desk::new(registry.settings());
    desk.pull(&source).await.unwrap();
    let starts = starts(&registry, &layer);
    assert!(starts.len() == 2 && starts[1] > 0, "{starts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_make_no_image_and_leave_nothing() {
    let registry = Registry::start().await;
    let (source, layer) = push(&registry);
    let desk = Desk::new(registry.settings());
    registry.fault(&layer, 1, Fault::WrongByte);
    refusal(desk.pull(&source).await, PullFailureCode::InvalidImage, &[&layer, &registry.address()]);
    assert_eq!((desk.layers(), desk.images.list().len()), ((0, 0), 0));
    for (part, code) in
        [("/manifests/", PullFailureCode::InvalidImage), ("/blobs/", PullFailureCode::InvalidImage)]
    {
        registry.fault(part, 1, Fault::WrongByte);
        refusal(desk.pull(&source).await, code, &[]);
    }
    desk.pull(&source).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_registry_is_asked_again_and_a_dead_one_is_given_up() {
    let registry = Registry::start().await;
    let (source, layer) = push(&registry);
    let patience = Patience { pause_max: Duration::from_millis(20), ..registry.settings().patience };
    let desk = Desk::new(Settings { patience, ..registry.settings() });
    registry.fault("/manifests/", 1, Fault::RetryAfter(3600));
    registry.fault("/manifests/", 2, Fault::Status(503));
    registry.fault(&layer, 2, Fault::Status(502));
    desk.pull(&source).await.unwrap();
    assert_eq!((registry.count("/manifests/"), registry.count(&layer)), (4, 3));

    registry.fault("/manifests/", 100, Fault::Status(500));
    let refused = desk.pull(&source).await;
    refusal(refused, PullFailureCode::Unreachable, &["500", "6 tries", &registry.address()]);
    let gone = registry.settings();
    drop(registry);
    let desk = Desk::new(gone);
    refusal(desk.pull(&source).await, PullFailureCode::Unreachable, &["cannot be connected to"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_too_slow_is_given_up() {
    let registry = Registry::start().await;
    let (source, layer) = push(&registry);
    let patience =
        Patience { window: Duration::from_millis(300), retries_max: 1, ..registry.settings().patience };
    let desk = Desk::new(Settings { patience, ..registry.settings() });
    let never = Arc::new(Notify::new());
    registry.fault(&layer, 10, Fault::HoldAfter(0, never));
    refusal(desk.pull(&source).await, PullFailureCode::Unreachable, &["sent 0 bytes"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_bytes_than_there_should_be_are_not_taken() {
    let registry = Registry::start().await;
    let (source, _) = push(&registry);
    let desk = Desk::new(Settings { layer_bytes_max: 1000, ..registry.settings() });
    refusal(desk.pull(&source).await, PullFailureCode::Refused, &["1000 is the limit"]);
    assert_eq!(desk.layers(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_listening_stops_nothing() {
    let registry = Registry::start().await;
    let (source, layer) = push(&registry);
    let desk = Desk::new(registry.settings());
    let release = Arc::new(Notify::new());
    registry.fault(&layer, 1, Fault::HoldAfter(1000, release.clone()));
    {
        let mut pull = Box::pin(desk.pull(&source));
        let held = eventually("the layer is asked for", || async { registry.count(&layer) == 1 });
        tokio::select! { () = held => {}, outcome = &mut pull => panic!("{outcome:?}") }
    }
    release.notify_one();
    eventually("the image is there", || async { desk.images.list().len() == 1 }).await;
    assert_eq!(registry.count(&layer), 1);
}

/// What a child of [`a_node_that_is_killed_leaves_a_beginning_to_go_on_with`] does; by itself, nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pull_as_told_by_the_environment() {
    let Ok(told) = std::env::var("ATOLL_TEST_PULL") else { return };
    let (dir, source, settings): (String, String, Settings) = serde_json::from_str(&told).unwrap();
    let (_, puller) = open(dir.as_ref(), settings);
    let order = wire::node::PullImage { source, credentials: None, resolve_only: false };
    puller.pull(&order, drop).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_leaves_a_beginning_to_go_on_with() {
    let registry = Registry::start().await;
    let (source, layer) = push(&registry);
    registry.fault(&layer, 1, Fault::HoldAfter(250_000, Arc::new(Notify::new())));
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let told = serde_json::to_string(&(dir.path(), &source, registry.settings())).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::pull_as_told_by_the_environment"])
        .env("ATOLL_TEST_PULL", told)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let partial = dir.path().join("images/blobs/partial");
    let written = || -> u64 {
        let entries = std::fs::read_dir(&partial).into_iter().flatten().flatten();
        entries.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).sum()
    };
    eventually("a part of the layer is there", || async { written() == 250_000 }).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let (images, puller) = open(dir.path(), registry.settings());
    assert_eq!(images.list().len(), 0);
    let order = wire::node::PullImage { source, credentials: None, resolve_only: false };
    puller.pull(&order, drop).await.unwrap();
    assert_eq!(starts(&registry, &layer), [0, 250_000]);
    assert_eq!((images.list().len(), written()), (1, 0));
    let drafts = std::fs::read_dir(dir.path().join("images/tmp")).unwrap().count();
    assert_eq!(drafts, 0, "the killed node's draft is left");
}

/// Changes a byte of a file, where it is content of another.
fn damage(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beginning_or_a_layer_that_was_damaged_on_the_disk_comes_anew() {
    let registry = Registry::start().await;
    let (source, layer) = push(&registry);
    let desk = Desk::new(registry.settings());
    registry.fault(&layer, 1, Fault::BreakAfter(300_000));
    registry.fault(&layer, 20, Fault::BreakAfter(0));
    refusal(desk.pull(&source).await, PullFailureCode::Unreachable, &["broke off"]);
    registry.heal();
    let partial =
        std::fs::read_dir(desk.dir().join("images/blobs/partial")).unwrap().next().unwrap().unwrap();
    damage(&partial.path());
    desk.pull(&source).await.unwrap();
    assert_eq!(starts(&registry, &layer).last(), Some(&0), "what was damaged is not gone on with");
    let kept = desk.dir().join("images/blobs").join(layer.trim_start_matches("sha256:"));
    damage(&kept);
    let other = Image::new().layer(
        Layer::new()
            .file("large", (0..BYTES).map(|at| (at * 7 % 251) as u8).collect::<Vec<u8>>())
            .packing(Packing::Plain),
    );
    registry.push("me/other:v1", &other.layer(Layer::new().file("more", "x")));
    let asked = registry.count(&layer);
    desk.pull(&format!("{}/me/other:v1", registry.address())).await.unwrap();
    assert_eq!(registry.count(&layer), asked + 1);
}
