//! Mirrors and pull-through caches.

use artifact::oci::Settings;
use testkit::registry::{Fault, Gate, Image, Layer, Registry};
use wire::node::PullFailureCode;

use crate::desk::{Desk, basic, refusal};

fn image() -> Image {
    Image::new().layer(Layer::new().file("a", "1"))
}

fn mirrored(registry: &Registry, mirrors: &[String]) -> Settings {
    let mirror = |url: &String| format!("{}={url}", registry.address()).parse().unwrap();
    Settings { mirrors: mirrors.iter().map(mirror).collect(), ..registry.settings() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_is_asked_first_below_its_path_and_without_credentials() {
    let registry = Registry::builder().gate(Gate::Basic).start().await;
    let mirror = Registry::start().await;
    mirror.push("hub/me/it:v1", &image());
    let desk = Desk::new(mirrored(&registry, &[format!("{}/hub", mirror.url())]));
    desk.pull_as(&format!("{}/me/it:v1", registry.address()), basic("me", "s3cret")).await.unwrap();
    assert!(registry.requests().is_empty());
    assert!(mirror.requests().iter().all(|asked| asked.header("authorization").is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_mirror_fails_the_registry_itself_is_asked() {
    let registry = Registry::start().await;
    registry.push("me/it:v1", &image());
    let (empty, lying) = (Registry::start().await, Registry::start().await);
    lying.push("me/it:v1", &image());
    lying.fault(image().stored().layers[0].as_str(), 9, Fault::WrongByte);
    let desk = Desk::new(mirrored(&registry, &[empty.url(), lying.url()]));
    let built = desk.pull(&format!("{}/me/it:v1", registry.address())).await.unwrap();
    assert_eq!(desk.read(&built, "a"), "1");
    assert!(!empty.requests().is_empty() && !lying.requests().is_empty());
    assert_eq!((registry.count("/manifests/"), registry.count("/blobs/")), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_inside_is_no_door_to_the_inside_for_users() {
    let registry = Registry::start().await;
    let mirror = Registry::start().await;
    mirror.push("me/it:v1", &image());
    let desk = Desk::new(mirrored(&registry, &[mirror.url()]));
    desk.pull(&format!("{}/me/it:v1", registry.address())).await.unwrap();
    let refused = desk.pull(&format!("{}/me/it:v1", mirror.address())).await;
    refusal(refused, PullFailureCode::Refused, &["--registry-allow-private"]);
}
