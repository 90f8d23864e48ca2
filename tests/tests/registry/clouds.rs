//! Credentials of clouds, at services that check what they are sent.

use testkit::cloud::Cloud;
use testkit::registry::{Gate, Image, Layer, Registry};
use wire::image::RegistryCredentials;
use wire::node::PullFailureCode;

use crate::desk::{Desk, refusal};

async fn private_registry(cloud: &Cloud) -> (Registry, String) {
    let registry = Registry::builder().gate(Gate::Tokens).start().await;
    registry.push("me/it:v1", &Image::new().layer(Layer::new().file("a", "1")));
    cloud.serve(&registry);
    let source = format!("{}/me/it:v1", registry.address());
    (registry, source)
}

fn aws(id: &str, secret: &str, region: Option<&str>) -> RegistryCredentials {
    RegistryCredentials::Aws {
        aws_access_key_id: id.into(),
        aws_secret_access_key: secret.into(),
        aws_region: region.map(Into::into),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_aws_signs_for_a_login() {
    let cloud = Cloud::start().await;
    let (registry, source) = private_registry(&cloud).await;
    let desk = Desk::new(cloud.settings(registry.settings()));
    let (id, secret) = cloud.aws_key();
    desk.pull_as(&source, Some(aws(id, secret, Some("eu-central-1")))).await.unwrap();
    assert_eq!(cloud.refusals(), Vec::<String>::new());
    let refused = desk.pull_as(&source, Some(aws(id, "wrong", Some("eu-central-1")))).await;
    refusal(refused, PullFailureCode::Unauthorized, &["AWS does not accept", "Refused"]);
    assert_eq!(cloud.refusals(), ["the signature does not match"]);
    let refused = desk.pull_as(&source, Some(aws(id, secret, None))).await;
    refusal(refused, PullFailureCode::Refused, &["aws_region"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_account_of_google_signs_for_a_token() {
    let cloud = Cloud::start().await;
    let (registry, source) = private_registry(&cloud).await;
    let desk = Desk::new(cloud.settings(registry.settings()));
    let gcp = |key_file| Some(RegistryCredentials::Gcp { gcp_service_account_json: key_file });
    desk.pull_as(&source, gcp(cloud.gcp_key_file())).await.unwrap();
    assert_eq!(cloud.refusals(), Vec::<String>::new());
    let other = Cloud::start().await;
    let mut key: serde_json::Value = serde_json::from_str(&other.gcp_key_file()).unwrap();
    key.as_object_mut().unwrap().remove("token_uri");
    refusal(desk.pull_as(&source, gcp(key.to_string())).await, PullFailureCode::Unauthorized, &["Google"]);
    assert_eq!(cloud.refusals(), ["the signature does not match"]);
    let refused = desk.pull_as(&source, gcp(other.gcp_key_file())).await;
    refusal(refused, PullFailureCode::Refused, &["--gcp-token-endpoint"]);
    assert_eq!(other.refusals(), Vec::<String>::new(), "a key file led us elsewhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_principal_of_azure_is_exchanged_for_a_token_of_the_registry() {
    let cloud = Cloud::start().await;
    let (registry, source) = private_registry(&cloud).await;
    let desk = Desk::new(cloud.settings(registry.settings()));
    let principal = cloud.azure_principal();
    let azure = |secret: &str| {
        Some(RegistryCredentials::Azure {
            azure_client_id: principal.client_id.clone(),
            azure_client_secret: secret.into(),
            azure_tenant_id: principal.tenant_id.clone(),
        })
    };
    desk.pull_as(&source, azure(&principal.secret)).await.unwrap();
    desk.pull_as(&source, azure(&principal.secret)).await.unwrap();
    assert_eq!(registry.count("/oauth2/exchange"), 1, "a login is kept");
    refusal(desk.pull_as(&source, azure("wrong")).await, PullFailureCode::Unauthorized, &["Azure"]);
    assert_eq!(cloud.refusals(), ["an unknown principal"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_of_a_cloud_are_not_sent_to_registries_that_are_not_its_own() {
    let cloud = Cloud::start().await;
    let (registry, source) = private_registry(&cloud).await;
    let desk = Desk::new(registry.settings());
    let (id, secret) = cloud.aws_key();
    let refused = desk.pull_as(&source, Some(aws(id, secret, Some("eu-central-1")))).await;
    refusal(refused, PullFailureCode::Refused, &["no registry of AWS"]);
    let key_file = RegistryCredentials::Gcp { gcp_service_account_json: cloud.gcp_key_file() };
    refusal(
        desk.pull_as(&source, Some(key_file)).await,
        PullFailureCode::Refused,
        &["no registry of Google"],
    );
}
