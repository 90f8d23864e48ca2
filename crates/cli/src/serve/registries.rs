//! What the node is told about the places images come from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use artifact::oci::Settings as Registries;
use artifact::oci::settings::Authority;

use super::settings::Settings;

const MIB: u64 = 1024 * 1024;

/// Decides the settings of registries. Paths are made absolute: the node works elsewhere.
///
/// # Errors
/// When a path cannot be found.
pub fn resolve(settings: &Settings) -> Result<Registries> {
    let defaults = Registries::default();
    let authorities = settings.registry_ca.iter().flatten().map(absolute_authority);
    let bytes = |mib: Option<u64>, default: u64| mib.map_or(default, |mib| mib.saturating_mul(MIB));
    Ok(Registries {
        plain_http: settings.registry_plain_http.clone().unwrap_or_default(),
        authorities: authorities.collect::<Result<_>>()?,
        mirrors: settings.registry_mirror.clone().unwrap_or_default(),
        allow_private: settings.registry_allow_private.clone().unwrap_or_default(),
        image_path: settings.image_path.as_deref().map(directory).transpose()?,
        ecr_endpoint: settings.ecr_endpoint.clone(),
        gcp_token_endpoint: settings.gcp_token_endpoint.clone().unwrap_or(defaults.gcp_token_endpoint),
        azure_login_endpoint: settings.azure_login_endpoint.clone().unwrap_or(defaults.azure_login_endpoint),
        layer_bytes_max: bytes(settings.layer_mib_max, defaults.layer_bytes_max),
        image_bytes_max: bytes(settings.image_mib_max, defaults.image_bytes_max),
        patience: defaults.patience,
    })
}

fn absolute_authority(authority: &Authority) -> Result<Authority> {
    let file = std::path::absolute(&authority.file).with_context(|| format!("--registry-ca {authority}"))?;
    Ok(Authority { file, ..authority.clone() })
}

fn directory(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).context("--image-path")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn registries_are_told_by_the_file_as_by_flags() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = r#"
            registry_plain_http = ["registry.test:5000"]
            registry_ca = ["registry.test=/etc/ca.pem"]
            registry_mirror = ["docker.io=https://harbor.test/hub"]
            registry_allow_private = ["registry.test", "10.0.0.0/8"]
            layer_mib_max = 7
        "#;
        file.write_all(text.as_bytes()).unwrap();
        let resolved = Settings::default().resolve(Some(file.path())).unwrap().registries;
        assert!(resolved.is_plain("registry.test", Some(5000)));
        assert_eq!(resolved.authorities[0].file, Path::new("/etc/ca.pem"));
        assert_eq!(resolved.mirrors[0].host, "docker.io");
        assert!(resolved.allows_private("other.test", 443, [10, 1, 2, 3].into()));
        assert_eq!(resolved.layer_bytes_max, 7 * MIB);
    }

    #[test]
    fn a_setting_that_makes_no_sense_is_named() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"registry_mirror = [\"docker.io\"]").unwrap();
        let error = format!("{:#}", Settings::default().resolve(Some(file.path())).unwrap_err());
        assert!(error.contains("registry_mirror") && error.contains("HOST=URL"), "{error}");
    }
}
