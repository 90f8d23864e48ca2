//! Clients that were not written for us, unmodified, against the binary with real sandboxes. Their tests are in
//! `tests/conformance/`; run by hand, they need LEAP0_BASE_URL, LEAP0_API_KEY, ATOLL_INGRESS and SSL_CERT_FILE. Those of apps,
//! in `apps/` there, need ATOLL_URL and ATOLL_API_KEY in place of the first two.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use testkit::registry::{Image, Layer, Registry};
use testkit::server::{Server, Site};
use tests::python;
use tokio::sync::Mutex;

/// The clients' patience is part of what is tested: they do not share the machine with each other.
static TURN: Mutex<()> = Mutex::const_new(());

fn suite() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// Python's test runner in a suite's directory, on a server.
fn pytest(suite: &Path, site: &Site, server: &Server) -> Command {
    let environment = python::environment(&suite.join("requirements.txt"));
    let mut command: Command = python::program(&environment, "pytest");
    command.args(["--quiet", "--durations=5"]).current_dir(suite);
    command.env("ATOLL_INGRESS", server.ingress()).env("SSL_CERT_FILE", site.data().join("tls/ca.pem"));
    // Nothing is written into the tree.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a suite, with its output shown as it comes, and ends the server.
async fn passes(mut pytest: Command, server: Server) {
    let status = pytest.status().expect("pytest is started");
    let leaks = server.api().get("/v1/leaks").await.expect(200).json();
    server.stop();
    assert!(status.success(), "{status}; what failed is shown above");
    assert_eq!(leaks, json!({ "items": [] }));
}

fn build_template(server: &Server) {
    let built = server.atoll(&["template", "build", testkit::images::TEMPLATE]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// An image of somebody else's.
fn image() -> Image {
    Image::new().layer(Layer::new().file("etc/motd", "hello")).workdir("/srv")
}

async fn conforms(files: &[&str]) {
    let _turn = TURN.lock().await;
    let site = Site::gvisor().await;
    let registry = Registry::start().await;
    registry.push("me/it:v1", &image());
    let address = registry.address();
    let near = ["--registry-allow-private", &address, "--registry-plain-http", &address];
    let server = site.serve(&[&["--ephemeral"][..], &near].concat());
    build_template(&server);
    let mut pytest = pytest(&suite(), &site, &server);
    pytest.args(files).env("LEAP0_BASE_URL", server.url()).env("LEAP0_API_KEY", server.key());
    pytest.env("ATOLL_TEST_IMAGE", format!("{address}/me/it:v1"));
    passes(pytest, server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leap0_sdk_works_unmodified() {
    conforms(&[
        "test_sandboxes.py",
        "test_processes.py",
        "test_files.py",
        "test_terminals.py",
        "test_errors.py",
        "test_templates.py",
        "test_snapshots.py",
        "test_ingress.py",
        "test_not_yet.py",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_agents_of_langchain_work_unmodified() {
    conforms(&["test_langchain.py"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_is_spoken_as_its_rfc_says() {
    conforms(&["test_http2.py"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_pass_as_their_rfcs_say_and_as_apps_and_clients_like() {
    conforms(&["test_websocket.py"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_api_says_of_itself_is_true() {
    conforms(&["test_description.py"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apps_are_reached_by_the_clients_their_users_have() {
    let _turn = TURN.lock().await;
    let site = Site::gvisor().await;
    let server = site.serve(&["--ephemeral"]);
    build_template(&server);
    let mut pytest = pytest(&suite().join("apps"), &site, &server);
    pytest.env("ATOLL_URL", server.url()).env("ATOLL_API_KEY", server.key());
    passes(pytest, server).await;
}
