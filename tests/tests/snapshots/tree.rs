//! Directories as engines write them.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use artifact::snapshot::{CHUNK_BYTES, Facts};
use wire::image::Digest;
use wire::sandbox::Resources;

/// Bytes nobody can compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

/// One chunk of a memory image.
pub fn chunk(seed: u64) -> Vec<u8> {
    noise(seed, CHUNK_BYTES)
}

/// Makes a directory with a memory image of these chunks (none is a hole), and what comes with one.
pub fn write(dir: &Path, chunks: &[Option<u64>]) {
    fs::create_dir_all(dir).unwrap();
    let pages = File::create(dir.join("pages.img")).unwrap();
    pages.set_len((chunks.len() * CHUNK_BYTES) as u64).unwrap();
    for (at, seed) in chunks.iter().enumerate() {
        if let Some(seed) = seed {
            pages.write_all_at(&chunk(*seed), (at * CHUNK_BYTES) as u64).unwrap();
        }
    }
    fs::write(dir.join("checkpoint.img"), "state ".repeat(10_000)).unwrap();
    fs::write(dir.join("pages_meta.img"), noise(7, 5_000)).unwrap();
    fs::write(dir.join("empty"), "").unwrap();
}

/// Whether two directories have the same files, byte for byte.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let names = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let same =
        |name: &std::ffi::OsString| fs::read(one.join(name)).unwrap() == fs::read(other.join(name)).unwrap();
    names(one) == names(other) && names(one).iter().all(same)
}

/// Bytes that a file takes on its disk.
pub fn bytes_on_disk(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// What is known of a snapshot, with something that only this one has.
pub fn facts(note: &str) -> Facts {
    Facts {
        engine: "gvisor".into(),
        engine_version: "release-20240729.0".into(),
        engine_flags: vec!["--overlay2=root:memory".into()],
        cpu_features: vec!["avx2".into(), "sha_ni".into()],
        image: Digest::from_sha256([3; 32]),
        resources: Resources { vcpu: 1, memory_mib: 64, disk_mib: 1024, processes_max: 100 },
        agent_generation: 1,
        created_at_ms: 1_764_250_000_000,
        sandbox: "sbx-abcdefghijkmnpqrstuv".into(),
        more: [("note".to_owned(), note.into())].into(),
    }
}
