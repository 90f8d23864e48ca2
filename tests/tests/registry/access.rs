//! What registries want to see, and what they are not shown.

use std::sync::Arc;
use std::time::Duration;

use artifact::oci::Settings;
use testkit::lab::eventually;
use testkit::registry::{Authority, Fault, Gate, Image, Layer, Registry};
use tokio::sync::Notify;
use wire::node::PullFailureCode;

use crate::desk::{Desk, basic, refusal};

fn image() -> Image {
    Image::new().layer(Layer::new().file("a", "1")).layer(Layer::new().file("b", "2"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_got_with_credentials_kept_and_renewed() {
    let registry =
        Registry::builder().gate(Gate::Tokens).token_lifetime(Duration::from_secs(300)).start().await;
    registry.accept("me", "s3cret");
    registry.push("me/it:v1", &image());
    let source = format!("{}/me/it:v1", registry.address());
    let desk = Desk::new(registry.settings());
    desk.pull_as(&source, basic("me", "s3cret")).await.unwrap();
    assert_eq!(registry.count("/token"), 1, "one token does for a repository");
    registry.forget_tokens();
    desk.pull_as(&source, basic("me", "s3cret")).await.unwrap();
    assert_eq!(registry.count("/token"), 2, "a token that is good no more is renewed");

    let refused = desk.pull(&source).await;
    refusal(refused, PullFailureCode::Unauthorized, &[&registry.address(), "wants credentials"]);
    let refused = desk.pull_as(&source, basic("me", "wrong")).await;
    refusal(refused, PullFailureCode::Unauthorized, &["does not accept the credentials"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_for_everybody_and_names_with_every_request_work_too() {
    for (gate, credentials) in [(Gate::OpenTokens, None), (Gate::Basic, basic("_json_key", "{\"key\": 1}"))] {
        let registry = Registry::builder().gate(gate).start().await;
        registry.accept("_json_key", "{\"key\": 1}");
        registry.push("me/it:v1", &image());
        let source = format!("{}/me/it:v1", registry.address());
        let desk = Desk::new(registry.settings());
        desk.pull_as(&source, credentials).await.unwrap();
        if gate == Gate::Basic {
            refusal(desk.pull(&source).await, PullFailureCode::Unauthorized, &["401", "give credentials"]);
            let refused = desk.pull_as(&source, basic("me", "wrong")).await;
            refusal(refused, PullFailureCode::Unauthorized, &["401"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_proves_who_asks_stays_with_the_host_it_is_for() {
    let registry = Registry::builder().gate(Gate::Basic).start().await;
    registry.accept("me", "s3cret");
    registry.push("me/it:v1", &image());
    let elsewhere = Registry::start().await;
    elsewhere.push("me/it:v1", &image());
    for layer in image().stored().layers {
        let to = format!("{}/v2/me/it/blobs/{layer}", elsewhere.url());
        registry.fault(layer.as_str(), 1, Fault::Redirect(to));
    }
    let desk = Desk::new(both(&registry, &elsewhere));
    desk.pull_as(&format!("{}/me/it:v1", registry.address()), basic("me", "s3cret")).await.unwrap();
    let asked = elsewhere.requests();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|asked| asked.header("authorization").is_none()), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_and_realms_lead_only_where_users_may_go() {
    let registry = Registry::builder().gate(Gate::Basic).start().await;
    registry.push("me/it:v1", &image());
    let source = format!("{}/me/it:v1", registry.address());
    let inside = Registry::start().await;
    let desk = Desk::new(registry.settings());
    for (to, part) in [
        (inside.url(), "--registry-plain-http"),
        ("https://127.0.0.1:9/x".into(), "--registry-allow-private"),
        ("https://169.254.169.254/latest".into(), "--registry-allow-private"),
        ("https://[::ffff:10.0.0.1]/x".into(), "--registry-allow-private"),
        ("file:///etc/passwd".into(), "file:"),
        ("http://me:secret@127.0.0.1/".into(), "no URL"),
        (format!("{}/v2/me/it/manifests/v1", registry.url()), "more than 5 times"),
    ] {
        registry.fault("/manifests/", 6, Fault::Redirect(to.clone()));
        refusal(desk.pull(&source).await, PullFailureCode::Refused, &[part]);
        registry.heal();
    }
    for (realm, part) in [
        (format!("{}/token", inside.url()), "--registry-plain-http"),
        ("https://169.254.169.254/token".into(), "--registry-allow-private"),
        ("gopher://it.test/".into(), "gopher:"),
    ] {
        let registry = Registry::builder().gate(Gate::Tokens).realm(&realm).start().await;
        let source = format!("{}/me/it:v1", registry.address());
        let refused = Desk::new(registry.settings()).pull_as(&source, basic("me", "s3cret")).await;
        refusal(refused, PullFailureCode::Refused, &[part]);
    }
    assert!(inside.requests().is_empty(), "a registry led us inside");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_must_be_allowed_to_be_private_plain_or_signed_by_others() {
    let plain = Registry::start().await;
    plain.push("me/it:v1", &image());
    let source = format!("{}/me/it:v1", plain.address());
    let private = Settings { allow_private: vec![], ..plain.settings() };
    refusal(Desk::new(private).pull(&source).await, PullFailureCode::Refused, &["not on the internet"]);
    let secure = Settings { plain_http: vec![], ..plain.settings() };
    refusal(Desk::new(secure).pull(&source).await, PullFailureCode::Refused, &["--registry-plain-http"]);
    let network = Settings { allow_private: vec!["127.0.0.0/8".parse().unwrap()], ..plain.settings() };
    Desk::new(network).pull(&source).await.unwrap();

    let authority = Authority::new();
    let signed = Registry::builder().tls(&authority).gate(Gate::OpenTokens).start().await;
    signed.push("me/it:v1", &image());
    let source = format!("{}/me/it:v1", signed.address());
    Desk::new(signed.settings()).pull(&source).await.unwrap();
    let unknown = Settings { authorities: vec![], ..signed.settings() };
    refusal(Desk::new(unknown).pull(&source).await, PullFailureCode::Refused, &["--registry-ca"]);
    let other =
        Registry::builder().tls(&Authority::new()).start().await.settings().authorities[0].file.clone();
    let wrong = format!("{}={}", signed.address(), other.display()).parse().unwrap();
    assert!(!other.exists(), "an authority is gone with its registry");
    let missing = Settings { authorities: vec![wrong], ..signed.settings() };
    let images = artifact::Images::open(tempfile::tempdir().unwrap().path()).unwrap();
    let error =
        artifact::pull::Puller::open(images, missing, vec![]).err().expect("it is refused").to_string();
    assert!(error.contains("--registry-ca"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_is_here_is_for_those_whom_its_registry_lets_have_it() {
    let registry = Registry::start().await;
    let secret = image();
    registry.push("me/it:v1", &secret);
    let theirs = Registry::start().await;
    let desk = Desk::new(both(&registry, &theirs));
    desk.pull(&format!("{}/me/it:v1", registry.address())).await.unwrap();
    let stored = secret.stored();

    // Whoever knows the digests can name them in a registry of his own, in the same image or in another.
    let source = format!("{}/thief/it:v1", theirs.address());
    for other in [secret.clone(), secret.env("MINE", "1")] {
        theirs.push("thief/it:v1", &other);
        theirs.fault(stored.layers[1].as_str(), usize::MAX, Fault::Status(404));
        refusal(desk.pull(&source).await, PullFailureCode::NotFound, &[stored.layers[1].as_str(), "404"]);
        theirs.heal();
        // Nor does a registry help that says it has them.
        theirs.fault(stored.layers[1].as_str(), usize::MAX, Fault::WrongByte);
        refusal(desk.pull(&source).await, PullFailureCode::InvalidImage, &["other bytes"]);
        theirs.heal();
    }
    // Or ask the registry that has them, for an image of a repository that has not.
    for other in [image(), image().env("MINE", "2")] {
        registry.push("thief/it:v1", &other);
        registry.fault(&format!("thief/it/blobs/{}", stored.layers[0]), usize::MAX, Fault::Status(403));
        let refused = desk.pull(&format!("{}/thief/it:v1", registry.address())).await;
        refusal(refused, PullFailureCode::Unauthorized, &[stored.layers[0].as_str(), "403"]);
        registry.heal();
    }

    // Who has them gets the image that is there.
    theirs.push("thief/it:v1", &image());
    let built = desk.pull(&source).await.unwrap();
    assert!(!built.built_now, "the image was made again");
    let fetched = theirs.count(stored.layers[0].as_str());
    desk.pull(&source).await.unwrap();
    assert_eq!(theirs.count(stored.layers[0].as_str()), fetched, "what had come was fetched again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_a_pull_must_be_let_have_the_layers_too() {
    let registry = Registry::start().await;
    let desk = Desk::new(registry.settings());
    registry.push("me/it:v1", &image());
    registry.push("thief/it:v1", &image());
    let layers = image().stored().layers;
    let go_on = Arc::new(Notify::new());
    registry.fault(&format!("me/it/blobs/{}", layers[0]), 1, Fault::HoldAfter(10, go_on.clone()));
    registry.fault(&format!("thief/it/blobs/{}", layers[0]), usize::MAX, Fault::Status(403));
    let address = registry.address();
    let (mine, theirs) = (format!("{address}/me/it:v1"), format!("{address}/thief/it:v1"));
    let release = async {
        eventually("the thief has asked what the image is", async || {
            registry.count("/thief/it/manifests/") > 0 && registry.count("/me/it/blobs/") > 0
        })
        .await;
        go_on.notify_one();
    };
    let (built, refused, ()) = tokio::join!(desk.pull(&mine), desk.pull(&theirs), release);
    built.unwrap();
    refusal(refused, PullFailureCode::Unauthorized, &[layers[0].as_str(), "403"]);
}

/// Settings with which both registries can be pulled from.
fn both(one: &Registry, other: &Registry) -> Settings {
    let (one, other) = (one.settings(), other.settings());
    Settings {
        plain_http: [one.plain_http.clone(), other.plain_http].concat(),
        allow_private: [one.allow_private.clone(), other.allow_private].concat(),
        ..one
    }
}
