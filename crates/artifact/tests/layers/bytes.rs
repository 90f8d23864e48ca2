//! Random bytes, on the entry points that `fuzz/` has targets for, which need another compiler.

use artifact::rootfs::layers::Limits;
use artifact::rootfs::layers::tar::Walk;
use proptest::collection::vec;
use proptest::prelude::*;
use wire::image::{ImageSource, RegistryCredentials};

use crate::archive::{Item, archive, sealed};

/// Walks to the end or to a refusal.
fn walk(bytes: &[u8]) {
    let limits = Limits { segments_max: 1000, extension_bytes_max: 64 * 1024, ..Limits::default() };
    let mut walk = Walk::new(bytes, &limits);
    while let Ok(Some(entry)) = walk.next_entry() {
        assert!(entry.path.len() <= limits.path_bytes_max && !entry.path.contains(&0));
        while let Ok(piece @ [_, ..]) = walk.piece() {
            let length = piece.len();
            walk.consume(length);
        }
    }
}

/// An archive with something of everything.
fn whole() -> Vec<u8> {
    archive(&[
        Item::dir("d").xattr("user.x", "y"),
        Item::file("d/f", vec![1; 700]).pax("mtime", "1.5").pax("size", "700"),
        Item::file("g", "12345").pax("GNU.sparse.map", "0,5").pax("GNU.sparse.size", "9"),
        Item::file("l", "n".repeat(200)).type_flag(b'L'),
        Item::symlink("s", "d/f"),
    ])
}

proptest! {
    #[test]
    fn any_bytes_are_walked_to_an_end(bytes in vec(any::<u8>(), 0..4096)) {
        walk(&bytes);
    }

    #[test]
    fn any_change_of_an_archive_is_walked_to_an_end(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = whole();
        for (at, byte) in changes {
            *at.get_mut(&mut bytes) = byte;
        }
        // Most changes would end at the checksum: all are made right again.
        for block in bytes.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
            let right = sealed((&*block).try_into().unwrap());
            block.copy_from_slice(&right);
        }
        bytes.truncate(end.index(bytes.len() * 2).min(bytes.len()));
        walk(&bytes);
    }

    #[test]
    fn a_source_is_the_same_when_it_is_read_again(text in "[a-zA-Z0-9:/@._\\[\\]-]{0,80}|oci:/[a:/]{0,9}|.{0,40}") {
        if let Ok(source) = text.parse::<ImageSource>() {
            prop_assert_eq!(source.to_string().parse::<ImageSource>(), Ok(source));
        }
    }

    #[test]
    fn credentials_are_kept_whole_and_never_shown(kind in "basic|aws|gcp|azure|x", secret in ".{1,40}") {
        let text = serde_json::json!({
            "type": kind,
            "username": "u", "password": secret,
        });
        if let Ok(credentials) = serde_json::from_value::<RegistryCredentials>(text) {
            let kept = serde_json::to_vec(&credentials).unwrap();
            prop_assert!(serde_json::from_slice::<RegistryCredentials>(&kept).unwrap() == credentials);
            prop_assert_eq!(format!("{:?}", credentials), "RegistryCredentials(basic, …)");
        }
    }
}
