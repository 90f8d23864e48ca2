//! What the machine is made of, and the key that says when two are the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::program;

/// Debian's release.
const SUITE: &str = "bookworm";
/// Where the packages may come from besides [`SUITE`], as far as apt knows them.
const SUITES_EXTRA: [&str; 3] = ["bookworm-security", "bookworm-updates", "bookworm-backports"];
/// The package whose dependency is the kernel, and what the kernel's version starts with.
const KERNEL: &str = "linux-image-cloud-amd64";
const KERNEL_VERSION_PREFIX: &str = "6.1.";
/// What is installed on top of Debian's essential packages: what `atoll` and its demo need and what tests look at them with.
const PACKAGES: [&str; 11] = [
    "busybox-static",
    "ca-certificates",
    "curl",
    "e2fsprogs",
    "erofs-utils",
    "iproute2",
    "kmod",
    "mount",
    "nftables",
    "procps",
    "runsc/bookworm-backports",
];
/// Nobody reads these in there.
const PATHS_EXCLUDED: [&str; 3] = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];
/// Time for apt to read its own lists.
const APT_BOUND: Duration = Duration::from_secs(60);

/// The first program in the machine, which finds the disks.
pub(super) const INITRD_SCRIPT: &str = include_str!("initrd.sh");
/// PID 1 in the machine.
pub(super) const INIT_SCRIPT: &str = include_str!("init.sh");
/// The modules that reach the disks and the channels, in the order they depend on each other.
pub(super) const INITRD_MODULES: [&str; 7] = [
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "drivers/block/virtio_blk.ko",
    "drivers/char/virtio_console.ko",
];

/// Everything that decides what a machine is.
#[derive(Debug)]
pub(super) struct Recipe {
    /// The kernel's package, `linux-image-6.1.0-…-cloud-amd64`.
    pub(super) kernel_package: String,
    /// Its Debian version, `6.1.…`.
    pub(super) kernel_version: String,
    /// Lines of a `sources.list`.
    pub(super) sources: Vec<String>,
}

impl Recipe {
    /// The recipe with the newest kernel and the mirrors that apt on this machine knows.
    ///
    /// # Errors
    /// When apt knows no mirror of the release or none of its kernels.
    pub(super) fn current() -> Result<Self> {
        let said = program::run(program::bounded("apt-cache", APT_BOUND)?.args(["show", KERNEL]))?;
        let (kernel_package, kernel_version) = newest_kernel(&said).with_context(|| {
            format!("apt knows no {KERNEL} {KERNEL_VERSION_PREFIX}*; run `apt-get update`")
        })?;
        let format = "$(CODENAME) $(REPO_URI)";
        let said = program::run(program::bounded("apt-get", APT_BOUND)?.args([
            "indextargets",
            "--format",
            format,
            "Created-By: Packages",
        ]))?;
        Ok(Self { kernel_package, kernel_version, sources: sources(&said)? })
    }

    /// What mmdebstrap is told, up to where the result goes.
    pub(super) fn mmdebstrap_args(&self) -> Vec<String> {
        let fixed = ["--mode=root", "--format=directory", "--variant=essential", "--quiet"];
        // The disk is thrown away when the power fails: nothing is worth waiting for a sync.
        let options = ["--dpkgopt=force-unsafe-io", "--aptopt=APT::Install-Recommends \"false\""];
        let mut args: Vec<String> = fixed.into_iter().chain(options).map(str::to_owned).collect();
        args.extend(PATHS_EXCLUDED.map(|path| format!("--dpkgopt=path-exclude={path}")));
        args.push(format!("--include={}", PACKAGES.join(",")));
        args
    }

    /// The release, for mmdebstrap.
    pub(super) fn suite(&self) -> &'static str {
        SUITE
    }

    /// Equal for equal machines. A package that changes under the same kernel does not count: it is fetched
    /// again with the next kernel, or when `target` is emptied.
    pub(super) fn key(&self) -> String {
        let parts = [&self.kernel_package, &self.kernel_version, INITRD_SCRIPT, INIT_SCRIPT];
        let mut hash = Sha256::new();
        for part in parts.into_iter().chain(INITRD_MODULES) {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(self.mmdebstrap_args().join("\0"));
        let digest = hash.finalize();
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{hex}", self.kernel_version)
    }
}

/// The kernel's package and its version, out of `apt-cache show` (newest first) of the package that depends on it.
fn newest_kernel(said: &str) -> Option<(String, String)> {
    said.split("\n\n").find_map(|stanza| {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let version = field("Version").filter(|version| version.starts_with(KERNEL_VERSION_PREFIX))?;
        let package = field("Depends")?.split([' ', ',']).next()?;
        Some((package.to_owned(), version.to_owned()))
    })
}

/// The `sources.list` out of lines of suite and address.
fn sources(said: &str) -> Result<Vec<String>> {
    let known: Vec<(&str, &str)> = said.lines().filter_map(|line| line.split_once(' ')).collect();
    let address = |suite: &str| known.iter().find(|(name, _)| *name == suite).map(|(_, address)| *address);
    ensure!(
        address(SUITE).is_some(),
        "apt on this machine has no source of Debian's {SUITE} to take a mirror from; add one, then `apt-get update`"
    );
    let suites = [SUITE].into_iter().chain(SUITES_EXTRA);
    let lines = suites.filter_map(|suite| Some(format!("deb {} {suite} main", address(suite)?)));
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_of_debian_12_is_taken_and_not_a_backport() {
        let said = "Package: linux-image-cloud-amd64\nVersion: 6.12.95-1~bpo12+1\nDepends: linux-image-6.12.95\n\n\
                    Package: linux-image-cloud-amd64\nVersion: 6.1.192-2\nDepends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\n\n\
                    Package: linux-image-cloud-amd64\nVersion: 6.1.176-1\nDepends: linux-image-6.1.0-50-cloud-amd64\n";
        let expected = ("linux-image-6.1.0-56-cloud-amd64".to_owned(), "6.1.192-2".to_owned());
        assert_eq!(newest_kernel(said), Some(expected));
        assert_eq!(newest_kernel("Package: other\nVersion: 5.10.1\nDepends: x\n"), None);
    }

    #[test]
    fn the_release_is_needed_and_the_others_are_taken_where_there_are_some() {
        let said = "bookworm-backports http://mirror.test/debian/\nbookworm http://mirror.test/debian/\n";
        let expected = [
            "deb http://mirror.test/debian/ bookworm main",
            "deb http://mirror.test/debian/ bookworm-backports main",
        ];
        assert_eq!(sources(said).unwrap(), expected);
        let error = sources("trixie http://mirror.test/debian/").unwrap_err().to_string();
        assert!(error.contains("bookworm") && error.contains("apt-get update"), "{error}");
    }

    #[test]
    fn another_kernel_is_another_machine() {
        let recipe = |version: &str| Recipe {
            kernel_package: "linux-image".into(),
            kernel_version: version.into(),
            sources: Vec::new(),
        };
        assert_eq!(recipe("6.1.1").key(), recipe("6.1.1").key());
        assert_ne!(recipe("6.1.1").key(), recipe("6.1.2").key());
        assert!(recipe("6.1.1").key().starts_with("6.1.1-"));
    }
}
