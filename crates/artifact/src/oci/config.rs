//! The configuration of an image: how its processes run, and what its layers are when they are unpacked.

use std::collections::BTreeMap;

use serde::Deserialize;
use wire::image::{Digest, ImageConfig};

use super::failure::{Pulled, invalid};
use super::platform::Platform;

/// What is used of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub image: ImageConfig,
    /// The digest of each layer, unpacked.
    pub diff_ids: Vec<Digest>,
    pub platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    variant: Option<String>,
    #[serde(default)]
    config: Option<Processes>,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Processes {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    env: Option<Vec<String>>,
    stop_signal: Option<String>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Option<Vec<String>>,
}

/// Reads a configuration of an image of so many layers.
pub(crate) fn read(name: &str, bytes: &[u8], layers: usize) -> Pulled<Config> {
    let raw: Raw = serde_json::from_slice(bytes)
        .map_err(|error| invalid(format!("{name} has a configuration that cannot be read: {error}")))?;
    let wrong = |what: &str| invalid(format!("{name} has a configuration {what}"));
    if raw.rootfs.kind != "layers" {
        return Err(wrong("of an image that is not made of layers"));
    }
    let diff_ids: Result<Vec<_>, _> =
        raw.rootfs.diff_ids.unwrap_or_default().iter().map(|text| text.parse()).collect();
    let diff_ids = diff_ids.map_err(|_| wrong("that names layers by something other than SHA-256"))?;
    if diff_ids.len() != layers {
        return Err(wrong(&format!("of {} layers, and a manifest of {layers}", diff_ids.len())));
    }
    let says_platform = !raw.os.is_empty() && !raw.architecture.is_empty();
    let platform = Platform { architecture: raw.architecture, os: raw.os, variant: raw.variant };
    let image = processes(raw.config.unwrap_or_default());
    Ok(Config { image, diff_ids, platform: says_platform.then_some(platform) })
}

fn processes(raw: Processes) -> ImageConfig {
    let filled = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
    ImageConfig {
        entrypoint: filled(raw.entrypoint),
        cmd: filled(raw.cmd),
        working_dir: raw.working_dir.unwrap_or_default(),
        user: raw.user.unwrap_or_default(),
        env: raw.env.map(environment),
        stop_signal: raw.stop_signal.filter(|signal| !signal.is_empty()),
    }
}

/// The last of two that are alike decides, as in a shell; what has no `=` is no variable.
fn environment(lines: Vec<String>) -> BTreeMap<String, String> {
    let variables = lines.iter().filter_map(|line| line.split_once('='));
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest() -> String {
        Digest::from_sha256([1; 32]).to_string()
    }

    #[test]
    fn how_processes_run_is_read_as_docker_writes_it() {
        let text = json!({
            "architecture": "amd64", "os": "linux",
            "config": {
                "Entrypoint": ["/bin/it"], "Cmd": null, "WorkingDir": "/srv", "User": "7:8",
                "Env": ["A=1", "B=x=y", "A=2", "odd", "EMPTY="], "StopSignal": "SIGINT", "Labels": {},
            },
            "rootfs": { "type": "layers", "diff_ids": [digest()] }, "history": [],
        });
        let config = read("it", text.to_string().as_bytes(), 1).unwrap();
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            config.image,
            ImageConfig {
                entrypoint: Some(vec!["/bin/it".into()]),
                cmd: None,
                working_dir: "/srv".into(),
                user: "7:8".into(),
                env: Some([variable("A", "2"), variable("B", "x=y"), variable("EMPTY", "")].into()),
                stop_signal: Some("SIGINT".into()),
            }
        );
        assert_eq!(config.platform.unwrap().to_string(), "linux/amd64");
    }

    #[test]
    fn a_configuration_that_does_not_fit_its_layers_is_refused() {
        let check = |rootfs: serde_json::Value, part: &str| {
            let text = json!({ "rootfs": rootfs }).to_string();
            let refusal = read("it", text.as_bytes(), 1).unwrap_err().message;
            assert!(refusal.contains(part), "{refusal}");
        };
        check(json!({ "type": "layers", "diff_ids": [] }), "0 layers, and a manifest of 1");
        check(json!({ "type": "layers", "diff_ids": null }), "0 layers");
        check(json!({ "type": "other", "diff_ids": [digest()] }), "not made of layers");
        check(json!({ "type": "layers", "diff_ids": ["sha512:beef"] }), "SHA-256");
        check(json!(5), "cannot be read");
        assert!(read("it", json!({ "rootfs": { "type": "layers" } }).to_string().as_bytes(), 0).is_ok());
    }
}
