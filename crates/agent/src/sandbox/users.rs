//! Users and groups, read from `/etc/passwd` and `/etc/group` (`passwd(5)`, `group(5)`).
//!
//! Not through the C library: in a static program it would load the image's
//! name-service plug-ins into the agent.

use std::collections::BTreeMap;

use wire::guest::{Error, ErrorCode};

use crate::failure;
use crate::root::Root;

/// The sandbox user's name, where the image has one.
const SANDBOX_USER: &str = "user";
/// Supplementary groups of one user; more are left out.
const GROUPS_MAX: usize = 1024;

/// Capabilities that processes of the sandbox can have, root's and setuid programs: those that container engines grant by
/// default. More would free a process from the limits on processes. Numbers from `linux/capability.h`; in the order of the names chown, dac_override, fowner, fsetid, kill,
/// setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
const GRANTED_CAPABILITIES: [u32; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
/// No kernel has more capabilities than this.
const CAPABILITIES_MAX: u32 = 64;

/// A user to do things as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name, or the number of a user without one.
    pub name: String,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// More groups.
    pub groups: Vec<u32>,
    /// Where the user's own files are.
    pub home: String,
    /// The user's shell.
    pub shell: String,
}

/// Whether this process may act as other users.
pub fn may_switch() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user that `spec` (`name`, `uid`, either with `:group`; empty: the sandbox user) means.
///
/// Where the agent may not switch users, the empty spec means the user it runs as.
pub fn resolve(root: &Root, spec: &str) -> Result<Identity, Error> {
    let passwd = root.text("/etc/passwd");
    let group = root.text("/etc/group");
    if !spec.is_empty() {
        return find(spec, &passwd, &group);
    }
    if !may_switch() {
        return find(&rustix::process::geteuid().as_raw().to_string(), &passwd, &group);
    }
    find(SANDBOX_USER, &passwd, &group).or_else(|_| find("0", &passwd, &group))
}

/// The number of the user that `spec` (a name or a number) means.
pub fn user_number(root: &Root, spec: &str) -> Result<u32, Error> {
    find_user(spec, &root.text("/etc/passwd")).map(|user| user.uid)
}

/// The number of the group that `spec` (a name or a number) means.
pub fn group_number(root: &Root, spec: &str) -> Result<u32, Error> {
    find_group(spec, &root.text("/etc/group"))
}

/// The name of every user that has one; the first, where there are several.
pub fn user_names(root: &Root) -> BTreeMap<u32, String> {
    let passwd = root.text("/etc/passwd");
    let entries: Vec<Identity> = passwd.lines().filter_map(passwd_entry).collect();
    entries.into_iter().rev().map(|entry| (entry.uid, entry.name)).collect()
}

/// The name of every group that has one; the first, where there are several.
pub fn group_names(root: &Root) -> BTreeMap<u32, String> {
    let group = root.text("/etc/group");
    let entries: Vec<(&str, u32, &str)> = group.lines().filter_map(group_entry).collect();
    entries.into_iter().rev().map(|(name, gid, _)| (gid, name.to_owned())).collect()
}

/// The capabilities this process could pass on, and does not.
pub fn denied_capabilities() -> Vec<u32> {
    (0..CAPABILITIES_MAX)
        .filter(|number| !GRANTED_CAPABILITIES.contains(number) && is_in_bounding_set(*number))
        .collect()
}

fn is_in_bounding_set(capability: u32) -> bool {
    // SAFETY: this prctl reads one number and writes nothing.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) == 1 }
}

fn find(spec: &str, passwd: &str, group: &str) -> Result<Identity, Error> {
    let (user, group_name) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let mut identity = find_user(user, passwd)?;
    match group_name {
        Some(name) => identity.gid = find_group(name, group)?,
        None => identity.groups = groups_of(&identity.name, group),
    }
    Ok(identity)
}

fn find_user(user: &str, passwd: &str) -> Result<Identity, Error> {
    let number: Option<u32> = user.parse().ok();
    let entries: Vec<Identity> = passwd.lines().filter_map(passwd_entry).collect();
    let named = entries.iter().find(|entry| entry.name == user);
    let found = named.or_else(|| entries.iter().find(|entry| Some(entry.uid) == number)).cloned();
    let nameless = || number.map(nameless);
    found.or_else(nameless).or_else(|| (user == "root").then(root_without_entry)).ok_or_else(|| {
        Error::new(ErrorCode::NotFound, format!("no user named `{user}` in the sandbox's /etc/passwd"))
    })
}

/// `name:password:uid:gid:comment:home:shell`
fn passwd_entry(line: &str) -> Option<Identity> {
    let fields: Vec<&str> = line.split(':').collect();
    let or =
        |field: &str, default: &str| if field.is_empty() { default.to_owned() } else { field.to_owned() };
    Some(Identity {
        name: fields.first().filter(|name| !name.is_empty())?.to_string(),
        uid: fields.get(2)?.parse().ok()?,
        gid: fields.get(3)?.parse().ok()?,
        groups: Vec::new(),
        home: or(fields.get(5)?, "/"),
        shell: or(fields.get(6).copied().unwrap_or(""), "/bin/sh"),
    })
}

fn nameless(uid: u32) -> Identity {
    let home = "/".into();
    Identity { name: uid.to_string(), uid, gid: 0, groups: Vec::new(), home, shell: "/bin/sh".into() }
}

fn root_without_entry() -> Identity {
    Identity { name: "root".into(), home: "/root".into(), ..nameless(0) }
}

fn find_group(name: &str, group: &str) -> Result<u32, Error> {
    let entries = || group.lines().filter_map(group_entry);
    let named = entries().find(|(entry, ..)| *entry == name).map(|(_, gid, _)| gid);
    named.or_else(|| name.parse().ok()).ok_or_else(|| {
        Error::new(ErrorCode::NotFound, format!("no group named `{name}` in the sandbox's /etc/group"))
    })
}

fn groups_of(user: &str, group: &str) -> Vec<u32> {
    let entries = group.lines().filter_map(group_entry);
    let of_user = entries.filter(|(.., members)| members.split(',').any(|member| member.trim() == user));
    of_user.map(|(_, gid, _)| gid).take(GROUPS_MAX).collect()
}

/// `name:password:gid:members`
fn group_entry(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let gid = fields.nth(1)?.parse().ok()?;
    Some((name, gid, fields.next().unwrap_or("")))
}

impl Identity {
    /// Makes the calling thread act on files as this user, for the rest of its life.
    ///
    /// Only the effective ids change: the real and saved ones stay the agent's, so that processes of the user may not
    /// signal or trace the thread.
    pub fn assume(&self) -> Result<(), Error> {
        if !may_switch() || self.uid == 0 && self.gid == 0 {
            return Ok(());
        }
        let gids: Vec<_> = self.groups.iter().map(|gid| rustix::process::Gid::from_raw(*gid)).collect();
        let (uid, gid) = (rustix::process::Uid::from_raw(self.uid), rustix::process::Gid::from_raw(self.gid));
        rustix::thread::set_thread_groups(&gids)
            .and_then(|()| rustix::thread::set_thread_res_gid(None, gid, None))
            .and_then(|()| rustix::thread::set_thread_res_uid(None, uid, None))
            .map_err(|error| failure::of(format!("acting as {}", self.name), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000::/home/user:/bin/sh\n\
                          bad line\n77:x:78:78:::\nbroken:x:many:1:::\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:other, user\naudio:x:29:user\nbad\nuser:x:1000:\n";

    fn ids(spec: &str) -> (u32, u32, Vec<u32>) {
        let identity = find(spec, PASSWD, GROUP).unwrap();
        (identity.uid, identity.gid, identity.groups)
    }

    #[test]
    fn names_and_numbers_are_found() {
        assert_eq!(ids("user"), (1000, 1000, vec![100, 29]));
        assert_eq!(ids("1000"), (1000, 1000, vec![100, 29]));
        assert_eq!(ids("user:audio"), (1000, 29, vec![]));
        assert_eq!(ids("1000:7"), (1000, 7, vec![]));
        assert_eq!(ids("4242"), (4242, 0, vec![]));
        assert_eq!(ids("77"), (78, 78, vec![]), "a name wins over a number");
    }

    #[test]
    fn unknown_names_are_not_found() {
        for spec in ["nobody", "broken", "user:nogroup", "-1", ":audio"] {
            assert_eq!(find(spec, PASSWD, GROUP).unwrap_err().code, ErrorCode::NotFound, "{spec}");
        }
    }

    #[test]
    fn root_needs_no_entry_and_empty_fields_have_defaults() {
        assert_eq!(find("root", "", "").unwrap(), root_without_entry());
        let bare = find("77", PASSWD, GROUP).unwrap();
        assert_eq!((bare.home.as_str(), bare.shell.as_str()), ("/", "/bin/sh"));
    }

    #[test]
    fn what_containers_have_by_default_is_not_denied() {
        assert!(denied_capabilities().iter().all(|number| !GRANTED_CAPABILITIES.contains(number)));
    }
}
