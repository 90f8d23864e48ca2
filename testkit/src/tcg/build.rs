//! From a recipe to a machine's files: kernel, first ramdisk, disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::program::{bounded, find, run};
use super::recipe::{INIT_SCRIPT, INITRD_MODULES, INITRD_SCRIPT, Recipe};

/// Time for packages to come and be unpacked. A slow mirror is most of it.
const PACKAGES_BOUND: Duration = Duration::from_secs(15 * 60);
/// Time for a step that needs no network.
const STEP_BOUND: Duration = Duration::from_secs(120);
/// Size of the machine's own disk, in MiB. Sparse: what is not used costs nothing.
const ROOT_DISK_MIB: u64 = 1024;

pub(super) const KERNEL_FILE: &str = "vmlinuz";
pub(super) const INITRD_FILE: &str = "initrd";
pub(super) const ROOT_DISK_FILE: &str = "root.ext4";

/// Makes the three files in `dir`, and leaves nothing else there.
///
/// # Errors
/// When a program is missing or fails, or we are not root.
pub(super) fn build(recipe: &Recipe, dir: &Path) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "the machine's disk can only be made by root");
    let kernel = dir.join("kernel");
    fetch_kernel(recipe, &kernel)?;
    let release =
        recipe.kernel_package.strip_prefix("linux-image-").context("the kernel has another name")?;
    fs::rename(kernel.join(format!("boot/vmlinuz-{release}")), dir.join(KERNEL_FILE))
        .context("take the kernel out of its package")?;
    make_initrd(&kernel.join("lib/modules").join(release), &dir.join("ramdisk"), &dir.join(INITRD_FILE))?;
    let tree = dir.join("tree");
    make_tree(recipe, &tree)?;
    add_modules(&kernel.join("lib/modules"), &tree, release)?;
    write_script(&tree.join("usr/sbin/init"), INIT_SCRIPT)?;
    make_ext4(&tree, &dir.join(ROOT_DISK_FILE), ROOT_DISK_MIB)?;
    for leftover in [&kernel, &tree, &dir.join("ramdisk")] {
        fs::remove_dir_all(leftover).with_context(|| format!("remove {}", leftover.display()))?;
    }
    Ok(())
}

/// An ext4 disk of `size_mib` with the content of `tree`. Sparse.
pub(super) fn make_ext4(tree: &Path, disk: &Path, size_mib: u64) -> Result<()> {
    let mut mke2fs = bounded("mke2fs", STEP_BOUND)?;
    mke2fs.args(["-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-m", "0", "-d"]);
    run(mke2fs.args([tree, disk]).arg(format!("{size_mib}M"))).map(drop)
}

/// Downloads the kernel's package and unpacks it, without installing it.
fn fetch_kernel(recipe: &Recipe, dir: &Path) -> Result<()> {
    fs::create_dir(dir).with_context(|| format!("create {}", dir.display()))?;
    let package = format!("{}={}", recipe.kernel_package, recipe.kernel_version);
    let mut download = bounded("apt-get", PACKAGES_BOUND)?;
    run(download.current_dir(dir).args(["-q", "-o", "APT::Sandbox::User=root", "download", &package]))?;
    let archive = fs::read_dir(dir)?.next().context("apt downloaded nothing")??.path();
    run(bounded("dpkg-deb", STEP_BOUND)?.arg("--extract").args([&archive, dir])).map(drop)
}

/// The first ramdisk: busybox, a script, and the modules that reach the disks.
fn make_initrd(modules: &Path, ramdisk: &Path, initrd: &Path) -> Result<()> {
    let directories = ["bin", "dev", "modules", "root"];
    for directory in directories {
        fs::create_dir_all(ramdisk.join(directory))?;
    }
    write_script(&ramdisk.join("init"), INITRD_SCRIPT)?;
    let mut names = Vec::from(["init", "bin/busybox", "modules/order"].map(str::to_owned));
    fs::copy(find("busybox")?, ramdisk.join("bin/busybox")).context("copy busybox")?;
    let mut order = String::new();
    for module in INITRD_MODULES {
        let name = module.rsplit('/').next().unwrap_or(module);
        let target = format!("modules/{name}");
        fs::copy(modules.join("kernel").join(module), ramdisk.join(&target))
            .with_context(|| format!("copy the kernel's module {module}"))?;
        order.push_str(&format!("{name}\n"));
        names.push(target);
    }
    fs::write(ramdisk.join("modules/order"), order)?;
    // A ramdisk lists every directory before what is in it.
    let list = ramdisk.with_extension("list");
    fs::write(&list, directories.join("\n") + "\n" + &names.join("\n") + "\n")?;
    let mut cpio = bounded("cpio", STEP_BOUND)?;
    cpio.current_dir(ramdisk).args(["--create", "--format=newc", "--quiet", "--file"]).arg(initrd);
    run(cpio.stdin(Stdio::from(fs::File::open(&list)?)))?;
    fs::remove_file(&list).context("remove the ramdisk's list")
}

/// A configured Debian in a directory. In namespaces of its own, so that no mount and no process outlives it.
fn make_tree(recipe: &Recipe, tree: &Path) -> Result<()> {
    find("mmdebstrap")?;
    let mut mmdebstrap = bounded("unshare", PACKAGES_BOUND)?;
    mmdebstrap.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "mmdebstrap"]);
    if let Some(beside) = tree.parent() {
        mmdebstrap.env("TMPDIR", beside);
    }
    mmdebstrap.args(recipe.mmdebstrap_args()).arg(recipe.suite()).arg(tree).args(&recipe.sources);
    run(&mut mmdebstrap).map(drop)
}

/// Puts the kernel's modules where `modprobe` in the machine finds them.
fn add_modules(modules: &Path, tree: &Path, release: &str) -> Result<()> {
    fs::rename(modules, tree.join("usr/lib/modules")).context("move the kernel's modules")?;
    run(bounded("chroot", STEP_BOUND)?.arg(tree).args(["depmod", release])).map(drop)
}

fn write_script(path: &Path, text: &str) -> Result<()> {
    // What is there may be a link that leads out of the tree.
    let _ = fs::remove_file(path);
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("write {}", path.display()))
}
