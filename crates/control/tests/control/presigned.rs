//! The life of a presigned URL. That it opens anything is told by stories with an ingress.

use std::time::Duration;

use serde_json::{Value, json};
use wire::id::SandboxId;
use wire::token::Token;

use crate::support::Lab;

async fn make(lab: &Lab, id: &SandboxId, body: Value) -> Value {
    lab.post(&format!("/v1/sandbox/{id}/presigned-url"), body).await.expect(201).json()
}

async fn listed(lab: &Lab, id: &SandboxId) -> Value {
    lab.get(&format!("/v1/sandbox/{id}/presigned-urls")).await.expect(200).json()
}

#[tokio::test]
async fn a_url_is_shown_once_and_says_what_it_is() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let mut made = make(&lab, &id, json!({"port": 8080})).await;
    let token = made["token"].as_str().unwrap().to_owned();
    assert!(token.parse::<Token>().is_ok());
    assert_eq!(made["url"], format!("https://{token}.sandbox.test:7443"));
    assert!(made["id"].as_str().unwrap().starts_with("psu-"));
    assert_eq!((&made["sandbox_id"], &made["port"]), (&json!(id), &json!(8080)));
    assert_eq!(made["created_at"], "2023-11-14T22:13:20Z");
    assert_eq!(made["expires_at"], "2023-11-14T23:13:20Z");
    for secret in ["token", "url"] {
        made.as_object_mut().unwrap().remove(secret);
    }
    assert_eq!(listed(&lab, &id).await, json!({"items": [made], "total_items": 1}));
    for file in std::fs::read_dir(lab.data_dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(token.len()).any(|it| it == token.as_bytes()), "the token is kept");
    }
}

#[tokio::test]
async fn a_url_is_gone_when_it_expires_is_taken_back_or_its_sandbox_goes() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    make(&lab, &id, json!({"port": 80, "expires_in": 60})).await;
    let kept = make(&lab, &id, json!({"port": 80, "expires_in": 61})).await;
    lab.pass(Duration::from_secs(60));
    let items = listed(&lab, &id).await["items"].take();
    assert_eq!((items[0]["id"].clone(), items.as_array().unwrap().len()), (kept["id"].clone(), 1));
    let path = format!("/v1/sandbox/{id}/presigned-url/{}", kept["id"].as_str().unwrap());
    let other = lab.sandbox().await;
    lab.delete(&path.replace(id.as_str(), other.as_str())).await.expect(404);
    lab.delete(&path).await.expect(204);
    assert_eq!(lab.delete(&path).await.expect(404).code(), "not_found");
    assert_eq!(listed(&lab, &id).await["total_items"], 0);
    lab.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    lab.post(&format!("/v1/sandbox/{id}/presigned-url"), json!({"port": 80})).await.expect(404);
}

#[tokio::test]
async fn a_sandbox_has_so_many_and_no_more_until_some_expire() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    for _ in 0..100 {
        make(&lab, &id, json!({"port": 80, "expires_in": 60})).await;
    }
    let full = lab.post(&format!("/v1/sandbox/{id}/presigned-url"), json!({"port": 80})).await.expect(409);
    assert_eq!(full.code(), "sandbox_limit");
    assert!(full.message().contains("`presigned_urls_max`"), "{}", full.message());
    make(&lab, &lab.sandbox().await, json!({"port": 80})).await;
    lab.pass(Duration::from_secs(60));
    make(&lab, &id, json!({"port": 80})).await;
    assert_eq!(listed(&lab, &id).await["total_items"], 1);
}

#[tokio::test]
async fn the_agents_port_is_not_for_users() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let refused = lab.post(&format!("/v1/sandbox/{id}/presigned-url"), json!({"port": 1})).await.expect(400);
    assert_eq!(refused.wrong_fields(), ["port"]);
}
