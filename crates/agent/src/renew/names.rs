//! The names of a sandbox that goes on as another one.

use std::path::Path;

use rustix::fs::FileType;
use wire::guest::Error;

use super::Notes;
use super::entropy::Entropy;
use crate::failure;
use crate::file::put;
use crate::root::Root;
use crate::sandbox::name_machine;

const HOSTNAME: &str = "/etc/hostname";
/// `machine-id(5)`; made where it is missing.
const MACHINE_ID: &str = "/etc/machine-id";
/// The same for D-Bus, where it is no link to the other one.
const DBUS_MACHINE_ID: &str = "/var/lib/dbus/machine-id";

/// The name that is given up, and the one that is taken on.
pub struct Names {
    /// What it was told before.
    pub old: String,
    /// What it is told now.
    pub new: String,
}

impl Names {
    /// Names the machine, if it is one of its own, and the file that says its name, if that said the old one.
    pub fn take_on(&self, root: &Root, is_machine: bool, notes: &mut Notes) {
        if is_machine {
            notes.add_failure(name_machine(&self.new));
        }
        if root.text(HOSTNAME).trim() == self.old {
            notes.add_failure(write(root, HOSTNAME, &self.new));
        }
    }
}

/// Gives it an id that no copy of it has.
pub fn renew_machine_id(root: &Root, entropy: &Entropy, notes: &mut Notes) {
    let id = match entropy.machine_id() {
        Ok(id) => id,
        Err(error) => return notes.add(format!("{MACHINE_ID}: {}", failure::text(&error))),
    };
    if root.open_dir(Path::new("/etc")).is_ok() {
        notes.add_failure(write(root, MACHINE_ID, &id));
    }
    if is_plain_file(root, DBUS_MACHINE_ID) {
        notes.add_failure(write(root, DBUS_MACHINE_ID, &id));
    }
}

/// Replaces a file by one of this line, with the same owner and mode.
fn write(root: &Root, path: &str, line: &str) -> Result<(), String> {
    let mut line = Some(format!("{line}\n").into());
    put(root, Path::new(path), None, || Ok(line.take())).map(drop).map_err(|error: Error| error.message)
}

/// Whether it is a file itself, and no link to one.
fn is_plain_file(root: &Root, path: &str) -> bool {
    let stat = crate::file::Entry::find(root, Path::new(path)).and_then(|entry| entry.stat());
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A root with these files, each with what it says.
    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = Root::confined(dir.path()).unwrap();
        (dir, root)
    }

    fn renew(root: &Root) -> Vec<String> {
        let mut notes = Notes::default();
        Names { old: "old".into(), new: "new".into() }.take_on(root, false, &mut notes);
        renew_machine_id(root, &Entropy::parse(&"ab".repeat(32)).unwrap(), &mut notes);
        notes.0
    }

    #[test]
    fn a_file_with_the_old_name_says_the_new_one_and_one_with_another_is_left_alone() {
        let (_dir, root) = tree(&[("etc/hostname", "old\n")]);
        assert_eq!(renew(&root), [] as [&str; 0]);
        assert_eq!(root.text(HOSTNAME), "new\n");
        let (_dir, root) = tree(&[("etc/hostname", "mine\n")]);
        renew(&root);
        assert_eq!(root.text(HOSTNAME), "mine\n");
    }

    #[test]
    fn a_machine_id_is_replaced_with_its_mode_or_made() {
        let (dir, root) = tree(&[("etc/machine-id", "0123\n"), ("var/lib/dbus/machine-id", "0123\n")]);
        fs::set_permissions(dir.path().join("etc/machine-id"), Permissions::from_mode(0o640)).unwrap();
        assert_eq!(renew(&root), [] as [&str; 0]);
        let id = root.text(MACHINE_ID);
        assert_eq!((id.len(), root.text(DBUS_MACHINE_ID)), (33, id.clone()), "{id}");
        let mode = fs::metadata(dir.path().join("etc/machine-id")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let (_dir, root) = tree(&[("etc/passwd", "")]);
        renew(&root);
        assert_eq!(root.text(MACHINE_ID).len(), 33);
    }

    #[test]
    fn what_has_no_etc_gets_none_and_a_link_of_d_bus_stays_one() {
        let (dir, root) = tree(&[("bin/sh", "")]);
        assert_eq!(renew(&root), [] as [&str; 0]);
        assert!(!dir.path().join("etc").exists());
        let (dir, root) = tree(&[("etc/passwd", ""), ("var/lib/dbus/x", "")]);
        symlink("/etc/machine-id", dir.path().join("var/lib/dbus/machine-id")).unwrap();
        renew(&root);
        assert!(dir.path().join("var/lib/dbus/machine-id").is_symlink());
    }
}
