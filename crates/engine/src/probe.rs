//! What this host can run, and what mends what it cannot.
//!
//! Each check tries the thing itself where that is possible: a file system is
//! asked of the kernel (which loads its module), a network is made and dropped.

use std::fs::{self, OpenOptions};
use std::path::Path;

use rustix::mount::FsOpenFlags;

use crate::gvisor::runsc::{self, Runsc};
use crate::{cgroup, net};

/// The oldest kernel that has every system call we make (`LOOP_CONFIGURE`).
const KERNEL_MIN: (u32, u32) = (5, 8);

/// One thing an engine needs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// The engine that needs it: `gvisor`, `firecracker`.
    pub engine: &'static str,
    /// What is needed.
    pub name: &'static str,
    /// Whether it is there.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// The command that mends it, or what to do; empty where `ok`.
    pub remedy: String,
}

/// Checks everything. An engine can run where all of its checks are `ok`. Changes nothing that lasts.
pub fn report(runsc: &Path) -> Vec<Check> {
    let root = root();
    let mut checks = vec![kernel(), runsc_program(runsc), cgroups()];
    if root.ok {
        checks.extend(["erofs", "ext4", "overlay"].map(file_system));
        checks.extend([loop_devices(), networks()]);
    }
    checks.insert(0, root);
    checks.push(program("mkfs.ext4", "apt-get install e2fsprogs"));
    checks.push(program("mkfs.erofs", "apt-get install erofs-utils"));
    checks.push(kvm());
    checks
}

/// What `done` says, as a check of the gVisor engine.
fn check(name: &'static str, done: Result<String, String>, remedy: &str) -> Check {
    let (ok, detail) = match done {
        Ok(detail) => (true, detail),
        Err(detail) => (false, detail),
    };
    let remedy = if ok { String::new() } else { remedy.to_owned() };
    Check { engine: "gvisor", name, ok, detail, remedy }
}

fn root() -> Check {
    let user = rustix::process::geteuid();
    let done = if user.is_root() { Ok("yes".into()) } else { Err(format!("this is user {}", user.as_raw())) };
    check("root", done, "run it as root: sudo atoll doctor")
}

fn kernel() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let (major, minor) = KERNEL_MIN;
    let done = match version(&release) {
        Some(version) if version >= KERNEL_MIN => Ok(release),
        _ => Err(format!("Linux {release}; {major}.{minor} is the oldest that works")),
    };
    check("kernel", done, "install a newer kernel: apt-get install linux-image-amd64")
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn runsc_program(program: &Path) -> Check {
    match Runsc::probe(program) {
        Ok(runsc) => check("runsc", Ok(format!("{} ({})", program.display(), runsc.version)), ""),
        Err(crate::Error::Unfit { what, remedy }) => check("runsc", Err(what), &remedy),
        Err(error) => check("runsc", Err(error.to_string()), runsc::REMEDY),
    }
}

fn cgroups() -> Check {
    let done = match cgroup::lacking_controllers() {
        Ok(lacking) if lacking.is_empty() => Ok("cpu, memory, pids".into()),
        Ok(lacking) => Err(format!("without {}", lacking.join(", "))),
        Err(error) => Err(error.to_string()),
    };
    check(
        "cgroup controllers",
        done,
        "boot with cgroup_enable=memory, and mount -t cgroup2 none /sys/fs/cgroup",
    )
}

fn file_system(kind: &'static str) -> Check {
    let done = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC);
    let done = done.map(|_| "known to the kernel".into()).map_err(|error| error.to_string());
    check(kind, done, &format!("modprobe {kind} (the kernel must be built with it)"))
}

fn loop_devices() -> Check {
    let done = OpenOptions::new().read(true).open("/dev/loop-control");
    let done =
        done.map(|_| "/dev/loop-control".into()).map_err(|error| format!("/dev/loop-control: {error}"));
    check("loop devices", done, "modprobe loop")
}

fn networks() -> Check {
    let done =
        net::probe().map(|()| "a pair of namespaces was made".into()).map_err(|error| error.to_string());
    check("network namespaces", done, "modprobe veth; sysctl user.max_net_namespaces must not be 0")
}

fn program(name: &'static str, install: &str) -> Check {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file());
    let done = found.map(|file| file.display().to_string()).ok_or_else(|| "not in PATH".to_owned());
    check(name, done, install)
}

/// Whether virtual machines with a kernel of their own can run: not only that the device is there, but that the
/// processor does the work. Some hosts offer the device without, and guests' kernels do not get far on them.
fn kvm() -> Check {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let done = match (opened, hardware_virtualisation(&processor)) {
        (Ok(_), Some(flag)) => Ok(format!("/dev/kvm, {flag}")),
        (Ok(_), None) => Err("/dev/kvm is there, but the processor shows neither vmx nor svm".into()),
        (Err(error), _) => Err(format!("/dev/kvm: {error}")),
    };
    let remedy = "use a machine, or a kind of virtual machine, with (nested) hardware virtualisation, and modprobe kvm";
    Check { engine: "firecracker", ..check("kvm", done, remedy) }
}

/// What the processor can do, in the kernel's words, sorted.
pub fn cpu_features() -> Vec<String> {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut features: Vec<_> = flags(&processor).map(str::to_owned).collect();
    features.sort_unstable();
    features
}

/// The features of the first processor; all have the same.
fn flags(cpuinfo: &str) -> impl Iterator<Item = &str> {
    // x86 and ARM call the line differently.
    let names = ["flags", "Features"];
    let line = cpuinfo.lines().find_map(|line| names.into_iter().find_map(|name| line.strip_prefix(name)));
    line.and_then(|line| line.split_once(':')).map_or("", |(_, flags)| flags).split_whitespace()
}

fn hardware_virtualisation(cpuinfo: &str) -> Option<&'static str> {
    ["vmx", "svm"].into_iter().find(|wanted| flags(cpuinfo).any(|flag| flag == *wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_kernels_are_compared_as_numbers() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("5.10.0-28-amd64"), Some((5, 10)));
        assert!(version("5.10.0").unwrap() > KERNEL_MIN);
        assert!(version("4.19.0").unwrap() < KERNEL_MIN);
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn a_processor_says_whether_it_helps() {
        assert_eq!(hardware_virtualisation("processor: 0\nflags\t\t: fpu vme svm lm\n"), Some("svm"));
        assert_eq!(hardware_virtualisation("flags\t\t: fpu vme vmx_like\n"), None);
        assert_eq!(hardware_virtualisation(""), None);
    }

    #[test]
    fn a_missing_runsc_is_named_with_its_remedy() {
        let checks = report(Path::new("/nowhere/runsc"));
        let runsc = checks.iter().find(|check| check.name == "runsc").unwrap();
        assert!(
            !runsc.ok && runsc.detail.contains("/nowhere/runsc") && runsc.remedy.contains("install"),
            "{runsc:?}"
        );
    }
}
