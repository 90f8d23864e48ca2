//! Images on the node's own disk.

use std::os::unix::fs::symlink;

use artifact::oci::Settings;
use testkit::registry::{Image, Layer, Packing};
use wire::node::PullFailureCode;

use crate::desk::{Desk, basic, refusal};

fn image() -> Image {
    let layer = Layer::new().file("etc/motd", "hello").packing(Packing::Zstd);
    Image::new().layer(layer).layer(Layer::new().file("b", vec![1; 700_000])).env("A", "1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layouts_and_archives_below_the_image_path_are_images_too() {
    let dir = tempfile::tempdir().unwrap();
    let digest = image().write_layout(&dir.path().join("it"), "v1");
    image().write_docker_archive(&dir.path().join("it.tar"));
    let desk = Desk::new(Settings { image_path: Some(dir.path().into()), ..Settings::default() });
    let mut all = Vec::new();
    for source in ["oci:{}/it", "oci:{}/it:v1", "docker-archive:{}/it.tar"] {
        let source = source.replace("{}", dir.path().to_str().unwrap());
        let built = desk.pull(&source).await.unwrap();
        assert_eq!(desk.read(&built, "etc/motd"), "hello");
        assert_eq!(built.config.env.as_ref().unwrap()["A"], "1");
        all.push(built.digest);
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "the same layers are the same files: {all:?}");
    assert!(desk.images.by_manifest(&digest).is_some());
    assert_eq!(desk.layers(), (0, 0), "what is on the disk is not copied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_elsewhere_or_not_what_it_should_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("images");
    image().write_layout(&root.join("it"), "v1");
    image().write_layout(&dir.path().join("outside"), "v1");
    symlink("../outside", root.join("link")).unwrap();
    std::fs::write(root.join("odd.tar"), "no archive".repeat(100)).unwrap();
    let desk = Desk::new(Settings { image_path: Some(root.clone()), ..Settings::default() });
    let at = |kind: &str, name: &str| format!("{kind}:{}/{name}", root.display());
    let check = async |source: String, code, part: &str| refusal(desk.pull(&source).await, code, &[part]);
    check(at("oci", "link"), PullFailureCode::Refused, "where images may be").await;
    check(at("oci", "../outside"), PullFailureCode::Refused, "where images may be").await;
    check("oci:/etc".into(), PullFailureCode::Refused, "where images may be").await;
    check(at("oci", "it:v2"), PullFailureCode::NotFound, "v1").await;
    check(at("oci", "none"), PullFailureCode::NotFound, "there is no").await;
    check(at("docker-archive", "odd.tar"), PullFailureCode::InvalidImage, "no tar archive").await;
    let refused = desk.pull_as(&at("oci", "it"), basic("me", "s3cret")).await;
    refusal(refused, PullFailureCode::Refused, &["no credentials"]);
    let closed = Desk::new(Settings::default());
    refusal(closed.pull(&at("oci", "it")).await, PullFailureCode::Refused, &["--image-path"]);

    let layer = image().stored().layers[1].clone();
    let blob = root.join("it/blobs/sha256").join(layer.hex());
    let mut bytes = std::fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    refusal(desk.pull(&at("oci", "it")).await, PullFailureCode::InvalidImage, &[]);
    assert_eq!(desk.images.list().len(), 0);
}
