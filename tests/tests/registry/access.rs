//! What registries want to see, and what they are not shown.

use std::time::Duration;

use artifact::oci::Settings;
use testkit::registry::{Authority, Fault, Gate, Image, Layer, Registry};
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
    let both = Settings {
        plain_http: [registry.settings().plain_http, elsewhere.settings().plain_http].concat(),
        allow_private: [registry.settings().allow_private, elsewhere.settings().allow_private].concat(),
        ..registry.settings()
    };
    let desk = Desk::new(both);
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
