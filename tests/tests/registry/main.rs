//! Images from registries that are slow, break off, lie, or want to see something first.

mod access;
mod clouds;
mod desk;
mod faults;
mod local;
mod places;

use std::collections::BTreeMap;

use desk::{Desk, refusal};
use serde_json::json;
use testkit::registry::{Dialect, Image, Layer, Packing, Registry, digest_of};
use wire::image::ImageConfig;
use wire::node::{PullEvent, PullFailureCode, PullImage};

/// An image of two layers, packed and described so.
fn image(packing: Packing, dialect: Dialect) -> Image {
    let base = Layer::new().dir("etc").file("etc/motd", "hello").file("etc/gone", "x").packing(packing);
    let top = Layer::new().whiteout("etc/gone").program("bin/it", "#!/bin/sh\n").packing(packing);
    Image::new().layer(base).layer(top).dialect(dialect).env("GREETING", "a=b").user("7:8").workdir("/srv")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_of_every_packing_and_dialect_become_the_same_files() {
    let registry = Registry::start().await;
    let desk = Desk::new(registry.settings());
    for (packing, dialect) in [
        (Packing::Gzip, Dialect::Oci),
        (Packing::Zstd, Dialect::Oci),
        (Packing::Plain, Dialect::Oci),
        (Packing::Gzip, Dialect::Docker),
    ] {
        let name = format!("me/{packing:?}-{dialect:?}:v1").to_lowercase();
        let manifest = registry.push(&name, &image(packing, dialect));
        let events = std::sync::Mutex::new(Vec::new());
        let order = PullImage {
            source: format!("{}/{name}", registry.address()),
            credentials: None,
            resolve_only: false,
        };
        let built = desk.puller.pull(&order, |event| events.lock().unwrap().push(event)).await.unwrap();
        assert_eq!(desk.read(&built, "etc/motd"), "hello");
        assert!(!desk.has(&built, "etc/gone") && desk.has(&built, "bin/it"));
        let expected = ImageConfig {
            working_dir: "/srv".into(),
            user: "7:8".into(),
            env: Some(BTreeMap::from([("GREETING".into(), "a=b".into())])),
            ..ImageConfig::default()
        };
        assert_eq!(built.config, expected);
        let events = events.into_inner().unwrap();
        let PullEvent::Resolved(resolved) = &events[0] else { panic!("{events:?}") };
        assert_eq!((resolved.layers, &resolved.digest, &resolved.config), (2, &manifest, &expected));
        let PullEvent::Progress(progress) = &events[1] else { panic!("{events:?}") };
        assert_eq!(progress.bytes_total, resolved.layer_bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_leads_to_the_image_for_this_machine() {
    let registry = Registry::start().await;
    let desk = Desk::new(registry.settings());
    let here = Image::new().layer(Layer::new().file("here", "yes"));
    let other = |architecture| Image::new().architecture(architecture).layer(Layer::new().file("other", "x"));
    registry.push_index("me/it:v1", &[other("s390x"), here.clone(), other("riscv64")]);
    let built = desk.pull(&format!("{}/me/it:v1", registry.address())).await.unwrap();
    assert_eq!(desk.read(&built, "here"), "yes");

    registry.push_index("me/it:v2", &[other("s390x"), other("riscv64")]);
    let refused = desk.pull(&format!("{}/me/it:v2", registry.address())).await;
    refusal(refused, PullFailureCode::NotFound, &["linux/s390x", "linux/riscv64", "/me/it:v2"]);
    registry.push("me/it:v3", &other("s390x"));
    let refused = desk.pull(&format!("{}/me/it:v3", registry.address())).await;
    refusal(refused, PullFailureCode::NotFound, &["linux/s390x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_is_what_is_got_and_nothing_else() {
    let registry = Registry::start().await;
    let desk = Desk::new(registry.settings());
    let digest = registry.push("me/it:v1", &image(Packing::Gzip, Dialect::Oci));
    registry.push("me/it:v1", &Image::new());
    let built = desk.pull(&format!("{}/me/it@{digest}", registry.address())).await.unwrap();
    assert!(desk.has(&built, "etc/motd"));
    let none = digest_of(b"nothing");
    let refused = desk.pull(&format!("{}/me/it@{none}", registry.address())).await;
    refusal(refused, PullFailureCode::NotFound, &[none.as_str(), "404"]);
    let refused = desk.pull(&format!("{}/me/other:v9", registry.address())).await;
    refusal(refused, PullFailureCode::NotFound, &["me/other:v9", &registry.address()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_image_is_refused_in_words() {
    let registry = Registry::start().await;
    let desk = Desk::new(registry.settings());
    let push = |value: serde_json::Value| {
        registry.push_manifest("me/it:v1", "application/vnd.oci.image.manifest.v1+json", value.to_string())
    };
    push(json!({ "schemaVersion": 2, "layers": [], "config": {
        "mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": digest_of(b"").as_str(), "size": 0 } }));
    let source = format!("{}/me/it:v1", registry.address());
    refusal(desk.pull(&source).await, PullFailureCode::InvalidImage, &["artifact", "helm"]);
    push(json!({ "schemaVersion": 1, "fsLayers": [] }));
    refusal(desk.pull(&source).await, PullFailureCode::InvalidImage, &["first schema"]);
    push(json!({ "padding": "x".repeat(5 << 20) }));
    refusal(desk.pull(&source).await, PullFailureCode::InvalidImage, &["more than 4194304 bytes"]);
    let refused = desk.pull("http://it.test/x").await;
    refusal(refused, PullFailureCode::Refused, &["http://"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_ask_for_one_image_and_for_shared_layers_cause_one_fetch_of_each() {
    let registry = Registry::start().await;
    let desk = Desk::new(registry.settings());
    let base = Layer::new().file("base", vec![7; 200_000]).packing(Packing::Plain);
    let own = |name: &str| Image::new().layer(base.clone()).layer(Layer::new().file(name, name));
    let layers = own("one").stored().layers;
    registry.push("me/one:v1", &own("one"));
    registry.push("me/two:v1", &own("two"));
    let sources: Vec<_> =
        ["one", "two", "one", "two", "one"].map(|name| format!("{}/me/{name}:v1", registry.address())).into();
    let pulls = sources.iter().map(|source| desk.pull(source));
    let built: Vec<_> = futures_join(pulls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(built[0].digest, built[2].digest);
    assert_ne!(built[0].digest, built[1].digest);
    assert_eq!(registry.count(layers[0].as_str()), 1, "the layer that both have was fetched again");
    assert_eq!(registry.count(layers[1].as_str()), 1, "a layer of one image was fetched again");
    let again = desk.pull(&sources[0]).await.unwrap();
    assert!(!again.built_now && again.digest == built[0].digest);
}

/// All of them, at once.
async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *output = Some(ready);
            }
        }
        if outputs.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
