//! Which extended attributes a root file system has.
//!
//! Chosen by name. Users' own and file capabilities are part of an image. The others are not: labels and signatures
//! (`security.selinux`, `security.ima`, …) are of the host that made them; `trusted.overlay.*` would tell the host's
//! OverlayFS, on which the image is mounted, to lead elsewhere; and no engine of ours enforces access lists.

/// Bytes of a list of names, at most (`linux/limits.h`, `XATTR_LIST_MAX`).
pub(super) const LIST_BYTES_MAX: usize = 64 * 1024;

/// Whether an attribute of this name is kept.
pub(super) fn is_kept(name: &[u8]) -> bool {
    // OverlayFS has its own among the users' too, where it is mounted by somebody who is not root.
    (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")) || name == b"security.capability"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_host_is_not_kept() {
        let kept = ["user.mime", "security.capability"];
        let left = [
            "security.selinux",
            "security.ima",
            "trusted.overlay.redirect",
            "user.overlay.redirect",
            "trusted.x",
            "system.posix_acl_access",
            "security.capability2",
            "",
        ];
        assert!(kept.iter().all(|name| is_kept(name.as_bytes())));
        assert!(!left.iter().any(|name| is_kept(name.as_bytes())));
    }
}
