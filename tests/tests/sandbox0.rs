//! Sandbox0's own clients, unmodified, against the binary with real sandboxes and a registry. Their tests are in
//! `tests/conformance/sandbox0/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use testkit::registry::{Image, Layer, Registry};
use testkit::server::Site;
use tests::python;

/// What to do where npm is missing.
const NO_NPM: &str = "npm is needed, with Node.js 18 or newer: `scripts/install-packages test` installs both";

/// The whole of what runs in the images' sandboxes.
const SHELL: &str = "/bin/busybox";

fn suite() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/sandbox0")
}

/// An image with a shell.
fn image(greeting: &str) -> Image {
    let shell = fs::read(SHELL).expect("`scripts/install-packages test` installs busybox-static");
    let base = Layer::new().dir("bin").dir("etc").program("bin/sh", shell).hard_link("bin/cat", "bin/sh");
    let own = Layer::new().file("etc/motd", format!("{greeting}\n"));
    Image::new().layer(base).layer(own).env("PATH", "/bin").env("OWN", "image").workdir("/")
}

/// Stores an image of which the last layer is not there.
fn push_torn(registry: &Registry, name: &str) {
    let mut stored = image("torn").stored();
    let last = stored.layers.pop().expect("it has layers");
    stored.blobs.remove(&last);
    for bytes in stored.blobs.into_values() {
        registry.push_blob(bytes);
    }
    registry.push_manifest(name, stored.media_type, stored.manifest);
}

/// The command runs a client's tests.
async fn conforms(mut command: Command) {
    let site = Site::gvisor().await;
    let registry = Registry::start().await;
    registry.push("me/it:v1", &image("hello"));
    registry.push("me/other:v1", &image("other"));
    push_torn(&registry, "me/torn:v1");
    let address = registry.address();
    let near = ["--ephemeral", "--registry-allow-private", &address, "--registry-plain-http", &address];
    let server = site.serve(&near);
    let built = server.atoll(&["template", "build", testkit::images::TEMPLATE]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    command.env("ATOLL_URL", server.url()).env("ATOLL_API_KEY", server.key());
    command.env("TEST_IMAGE", format!("{address}/me/it:v1"));
    command.env("TEST_OTHER_IMAGE", format!("{address}/me/other:v1"));
    command.env("TEST_TORN_IMAGE", format!("{address}/me/torn:v1"));
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let leaks = server.api().get("/v1/leaks").await.expect(200).json();
    server.stop();
    assert!(status.success(), "{status}; what failed is shown above");
    assert_eq!(leaks, json!({ "items": [] }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_of_the_python_client_work() {
    let environment = python::environment(&suite().join("requirements.txt"));
    let mut pytest = python::program(&environment, "pytest");
    pytest.args(["--quiet", "--durations=5"]).current_dir(suite());
    // Nothing is written into the tree.
    pytest.env("PYTHONDONTWRITEBYTECODE", "1");
    conforms(pytest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_of_the_javascript_client_work() {
    let out = tempfile::tempdir().expect("a directory");
    for file in ["package.json", "package-lock.json", "templates.test.mjs"] {
        fs::copy(suite().join(file), out.path().join(file)).expect("the file is copied");
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(out.path());
    let installed = npm.status().unwrap_or_else(|error| panic!("{npm:?}: {error}; {NO_NPM}"));
    assert!(installed.success(), "{npm:?}: {installed}");
    let mut node = Command::new("node");
    node.args(["--test", "templates.test.mjs"]).current_dir(out.path());
    conforms(node).await;
}
