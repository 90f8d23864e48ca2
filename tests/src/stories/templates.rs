//! Templates of images from a registry, and what becomes of those images.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use testkit::lab::{Builder, Lab, eventually};
use testkit::registry::{Fault, Image, Layer, Registry};
use tokio::sync::Notify;

use super::{run, shown};
use crate::id_of;

/// An image of a few files, in two layers.
fn image(greeting: &str) -> Image {
    let shared = Layer::new().file("etc/shared", "of all");
    Image::new()
        .layer(shared)
        .layer(Layer::new().file("etc/motd", greeting))
        .env("GREETING", greeting)
        .workdir("/")
}

async fn lab_at(registry: &Registry, lab: Builder) -> Lab {
    lab.registries(registry.settings()).start().await
}

async fn create(lab: &Lab, order: Value) -> String {
    id_of(&lab.api.post("/v1/template", order).await.expect(201).json())
}

async fn template(lab: &Lab, id: &str) -> Value {
    lab.api.get(&format!("/v1/template/{id}")).await.expect(200).json()
}

async fn prune(lab: &Lab) -> Value {
    lab.api.post("/v1/templates/prune", json!({ "idle_seconds": 0 })).await.expect(200).json()
}

pub async fn a_sandbox_waits_for_the_image_of_its_template(lab: Builder) {
    let registry = Registry::start().await;
    let manifest = registry.push("me/it:v1", &image("hello"));
    let lab = lab_at(&registry, lab).await;
    let uri = format!("{}/me/it:v1", registry.address());
    let id = create(&lab, json!({ "name": "it", "uri": uri, "memory": 512 })).await;
    let sandbox = lab.api.post("/v1/sandbox", json!({ "template_name": "it" })).await.expect(201).json();
    assert_eq!((&sandbox["template_id"], &sandbox["memory"]), (&json!(id), &json!(512)));
    let it = template(&lab, &id).await;
    assert_eq!((&it["state"], &it["digest"]), (&json!("ready"), &json!(manifest)));
    assert_eq!(it["image_config"]["env"]["GREETING"], "hello");
    lab.end().await;
}

pub async fn a_lazy_template_is_fetched_with_its_first_sandbox(lab: Builder) {
    let registry = Registry::start().await;
    registry.push("me/it:v1", &image("hello"));
    let lab = lab_at(&registry, lab).await;
    let uri = format!("{}/me/it:v1", registry.address());
    let id = create(&lab, json!({ "name": "it", "uri": uri, "pull": "lazy" })).await;
    assert_eq!(template(&lab, &id).await["state"], "resolved");
    let before = registry.count("/blobs/");
    lab.api.post("/v1/sandbox", json!({ "template_name": "it" })).await.expect(201);
    assert!(registry.count("/blobs/") > before);
    assert_eq!(template(&lab, &id).await["state"], "ready");
    lab.end().await;
}

pub async fn a_pull_outlives_control_and_the_node(lab: Builder) {
    let registry = Registry::start().await;
    let wanted = image("hello");
    registry.push("me/it:v1", &wanted);
    let mut lab = lab_at(&registry, lab).await;
    let held = Arc::new(Notify::new());
    let last_layer = wanted.stored().layers[1].clone();
    registry.fault(last_layer.as_str(), 1, Fault::HoldAfter(10, held.clone()));
    let uri = format!("{}/me/it:v1", registry.address());
    let made = lab.api.post("/v1/template", json!({ "name": "it", "uri": uri })).await;
    let id = id_of(&made.expect(201).json());
    eventually("its last layer is on its way", async || registry.count(last_layer.as_str()) > 0).await;
    assert_eq!(template(&lab, &id).await["state"], "pulling");
    // The tag moves on, and is not what was asked for.
    registry.push("me/it:v1", &image("another"));
    lab.stop_control().await;
    lab.stop_node().await;
    lab.start_node().await.unwrap();
    lab.start_control().await.unwrap();
    eventually("its image is here", async || {
        held.notify_waiters();
        template(&lab, &id).await["state"] == "ready"
    })
    .await;
    assert_eq!(template(&lab, &id).await["image_config"]["env"]["GREETING"], "hello");
    lab.end().await;
}

pub async fn an_image_goes_after_the_last_template_and_the_last_sandbox_that_need_it(lab: Builder) {
    let registry = Registry::start().await;
    registry.push("me/one:v1", &image("one"));
    registry.push("me/two:v1", &image("two"));
    let lab = lab_at(&registry, lab).await;
    let mut ids = Vec::new();
    for name in ["one", "two"] {
        let uri = format!("{}/me/{name}:v1", registry.address());
        ids.push(create(&lab, json!({ "name": name, "uri": uri })).await);
        eventually("its image is here", async || {
            template(&lab, &ids[ids.len() - 1]).await["state"] == "ready"
        })
        .await;
    }
    let sandbox =
        id_of(&lab.api.post("/v1/sandbox", json!({ "template_name": "one" })).await.expect(201).json());
    assert_eq!(prune(&lab).await["items"], json!([]), "templates need them");
    for id in &ids {
        lab.api.delete(&format!("/v1/template/{id}")).await.expect(204);
    }
    lab.api.post("/v1/sandbox", json!({ "template_name": "one" })).await.expect(404);
    let kinds = |went: &Value| -> Vec<Value> {
        went["items"].as_array().unwrap().iter().map(|item| item["kind"].clone()).collect()
    };
    // The other image goes, and its own layer; the layer that both have stays with the sandbox's.
    assert_eq!(kinds(&prune(&lab).await), ["image", "layer"]);
    assert_eq!(shown(&lab, &sandbox).await["state"], "running");
    lab.api.delete(&format!("/v1/sandbox/{sandbox}")).await.expect(204);
    assert_eq!(kinds(&prune(&lab).await), ["image", "layer", "layer"]);
    assert_eq!(prune(&lab).await["items"], json!([]));
    lab.end().await;
}

/// Debian's static busybox, with a web server that is started with it.
fn service() -> Image {
    let programs = Layer::new()
        .program("bin/busybox", fs::read("/bin/busybox").expect("busybox-static is installed"))
        .symlink("bin/sh", "busybox")
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n");
    let script = "busybox id -u > /tmp/seen; echo $GREETING >> /tmp/seen; pwd >> /tmp/seen\n\
                  exec busybox httpd -f -p $PORT -h /tmp\n";
    Image::new()
        .layer(programs)
        .layer(Layer::new().dir("srv").program("bin/serve", format!("#!/bin/sh\n{script}")))
        .env("PORT", "8080")
        .env("GREETING", "hello")
        .user("web")
        .workdir("/srv")
        .entrypoint(&["/bin/serve"])
}

/// What a page of a service inside says.
async fn page(lab: &Lab, sandbox: &str, address: &str) -> Value {
    run(lab, sandbox, &format!("busybox wget -q -O - http://127.0.0.1:{address}")).await["stdout"].clone()
}

pub async fn what_an_image_starts_runs_in_its_sandboxes_until_the_template_says_otherwise(lab: Builder) {
    let registry = Registry::start().await;
    registry.push("me/web:v1", &service());
    let lab = lab_at(&registry, lab).await;
    let ready = |port: u16| json!({ "http": { "port": port, "path": "/seen" }, "timeout_seconds": 120 });
    let uri = format!("{}/me/web:v1", registry.address());
    let id = create(&lab, json!({ "name": "web", "uri": uri, "ready_check": ready(8080) })).await;
    let make = async || lab.api.post("/v1/sandbox", json!({ "template_name": "web" })).await;
    let first = id_of(&make().await.expect(201).json());
    assert_eq!(page(&lab, &first, "8080/seen").await, "33\nhello\n/srv\n");

    // A new version is for new sandboxes.
    let start = "echo $GREETING again > /tmp/seen; exec busybox httpd -f -p 9090 -h /tmp";
    let changes =
        json!({ "start_cmd": start, "ready_check": ready(9090), "env_vars": { "GREETING": "good day" } });
    lab.api.patch(&format!("/v1/template/{id}"), changes).await.expect(204);
    let second = id_of(&make().await.expect(201).json());
    assert_eq!(page(&lab, &second, "9090/seen").await, "good day again\n");
    assert_eq!(page(&lab, &first, "8080/seen").await, "33\nhello\n/srv\n");

    // One that does not come up fails the create with what it said.
    lab.api
        .patch(&format!("/v1/template/{id}"), json!({ "start_cmd": "echo no such luck; exit 3" }))
        .await
        .expect(204);
    let failed = make().await.expect(500).json();
    assert!(failed["message"].as_str().unwrap().contains("no such luck"), "{failed}");
    lab.end().await;
}
