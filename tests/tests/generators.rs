//! Generators of clients that others wrote, on the document of the API: what they make compiles, and works against the
//! binary. Their files are in `tests/conformance/generators/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use testkit::server::Site;
use tests::python;

/// What to do where npm is missing.
const NO_NPM: &str = "npm is needed, with Node.js 18 or newer: `scripts/install-packages test` installs both";

fn suite() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/generators")
}

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contract/public.json")
}

/// The document as the generator of Python can read it: an answer that is a form is bytes to it.
fn without_answered_forms() -> Value {
    let text = fs::read(document()).expect("the document is there");
    let mut document: Value = serde_json::from_slice(&text).expect("it is JSON");
    let paths = document["paths"].as_object_mut().expect("it has paths");
    let operations =
        paths.values_mut().flat_map(|path| path.as_object_mut().expect("operations").values_mut());
    let answers = operations.filter_map(|operation| operation.get_mut("responses")?.as_object_mut());
    for answer in answers.flat_map(|answers| answers.values_mut()) {
        let Some(content) = answer.get_mut("content").and_then(Value::as_object_mut) else { continue };
        if content.remove("multipart/form-data").is_some() {
            let bytes = json!({ "schema": { "type": "string", "format": "binary" } });
            content.insert("application/octet-stream".into(), bytes);
        }
    }
    document
}

/// Runs a command that must succeed; `hint` says what to do if it cannot be run.
#[track_caller]
fn run(command: &mut Command, hint: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {hint}"));
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{complained}", output.status);
}

fn python_environment() -> PathBuf {
    python::environment(&suite().join("requirements.txt"))
}

#[test]
fn the_document_is_valid() {
    let mut validator = python::program(&python_environment(), "openapi-spec-validator");
    run(validator.arg("--errors=all").arg(document()), "");
}

#[test]
fn a_generated_python_client_works() {
    let environment = python_environment();
    let out = tempfile::tempdir().expect("a directory");
    let mut generator = python::program(&environment, "openapi-python-client");
    // It formats what it makes with ruff, which it looks for on PATH.
    let path = std::env::var("PATH").unwrap_or_default();
    generator.env("PATH", format!("{}:{path}", environment.join("bin").display()));
    let readable = out.path().join("public.json");
    fs::write(&readable, without_answered_forms().to_string()).expect("the document is written");
    generator.args(["generate", "--meta", "none", "--fail-on-warning", "--path"]).arg(readable);
    generator.arg("--config").arg(suite().join("config.yaml"));
    run(generator.arg("--output-path").arg(out.path().join("atoll_client")), "");

    let site = Site::new();
    let server = site.serve(&[]);
    let built = server.atoll(&["template", "build", testkit::images::TEMPLATE]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut program = python::program(&environment, "python");
    program.env("PYTHONPATH", out.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    run(program.arg(suite().join("use_client.py")).args([server.url(), server.key()]), "");
    server.stop();
}

#[test]
fn generated_typescript_compiles() {
    let out = tempfile::tempdir().expect("a directory");
    for file in ["package.json", "package-lock.json", "tsconfig.json", "use_types.ts"] {
        fs::copy(suite().join(file), out.path().join(file)).expect("the file is copied");
    }
    let npm = |arguments: &[&str]| {
        let mut npm = Command::new("npm");
        npm.args(arguments).current_dir(out.path());
        npm
    };
    run(&mut npm(&["ci", "--no-audit", "--no-fund", "--ignore-scripts"]), NO_NPM);
    let document = document();
    let document = document.to_str().expect("a path of UTF-8");
    // A field that has a default may be left out of what is sent.
    let generate =
        ["exec", "--", "openapi-typescript", document, "--default-non-nullable=false", "-o", "api.ts"];
    run(&mut npm(&generate), NO_NPM);
    run(&mut npm(&["exec", "--", "tsc", "--project", "."]), NO_NPM);
}
