//! Giving up what unpacking does not take.
//!
//! The namespaces are new already: whoever started us did that. The order here is: the directory becomes `/`, the rest
//! of the file system goes, then what was needed for that goes.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::Mode;
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};
use rustix::process::{Resource, Rlimit, chdir, pivot_root, setrlimit, umask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use super::{Fault, Limits};

/// What making any tree takes: owners, modes and their bits, device files, file capabilities.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP);
/// Descriptors: two for each directory above an entry, and some.
const DESCRIPTORS_MAX: u64 = 1024;

/// Makes `tree` all there is, for ever.
pub(super) fn enter(tree: &Path, limits: &Limits) -> Result<(), Fault> {
    close_inherited().map_err(|error| Fault::new(format!("cannot close what was left open: {error}")))?;
    make_root(tree)?;
    give_up_capabilities()?;
    set_limits(limits)?;
    // Modes are those of the entries.
    umask(Mode::empty());
    Ok(())
}

/// Closes what whoever started us had open and did not mean for us.
fn close_inherited() -> io::Result<()> {
    let names = fs::read_dir("/proc/self/fd")?.map(|entry| entry.map(|entry| entry.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let numbers = names.iter().filter_map(|name| name.to_str()?.parse::<i32>().ok());
    for descriptor in numbers.filter(|descriptor| *descriptor > 2) {
        // SAFETY: the process has just begun and has opened nothing but this listing, which is closed already.
        unsafe { rustix::io::close(descriptor) };
    }
    Ok(())
}

fn make_root(tree: &Path) -> Result<(), Fault> {
    let failed = Fault::call("make the tree the root");
    let make = || {
        mount_bind(tree, tree)?;
        let nothing_runs = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount_remount(tree, nothing_runs, c"")?;
        chdir(tree)?;
        // The old root comes to lie on the new one, and is taken off it.
        pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        chdir("/")
    };
    make().map_err(failed)
}

fn give_up_capabilities() -> Result<(), Fault> {
    let give_up = || {
        set_no_new_privs(true)?;
        clear_ambient_capability_set()?;
        for capability in (CapabilitySet::all() - KEPT).iter() {
            match remove_capability_from_bounding_set(capability) {
                // Newer than the kernel.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(errno) => return Err(errno),
            }
        }
        let inheritable = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: KEPT, permitted: KEPT, inheritable })
    };
    give_up().map_err(Fault::call("give up capabilities"))
}

fn set_limits(limits: &Limits) -> Result<(), Fault> {
    let resources = [
        (Resource::As, limits.memory_bytes_max),
        (Resource::Cpu, limits.cpu_seconds_max),
        (Resource::Fsize, limits.file_bytes_max),
        (Resource::Nofile, DESCRIPTORS_MAX),
        (Resource::Core, 0),
    ];
    resources
        .into_iter()
        .try_for_each(|(resource, max)| {
            setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) })
        })
        .map_err(Fault::call("set limits"))
}
