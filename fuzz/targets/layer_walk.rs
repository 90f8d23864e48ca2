//! Any bytes are an archive or are refused, in bounded memory.

#![no_main]

use artifact::rootfs::layers::Limits;
use artifact::rootfs::layers::tar::Walk;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { segments_max: 1000, extension_bytes_max: 64 * 1024, ..Limits::default() };
    let mut walk = Walk::new(bytes, &limits);
    while let Ok(Some(entry)) = walk.next_entry() {
        assert!(entry.path.len() <= limits.path_bytes_max && !entry.path.contains(&0));
        while let Ok(piece @ [_, ..]) = walk.piece() {
            let length = piece.len();
            walk.consume(length);
        }
    }
});
