//! How much of a second memory image is new, by how it is cut: `chunking FIRST SECOND`, two files that an engine wrote of
//! the same program, one after the other.

use std::collections::HashSet;
use std::{env, fs};

/// Bits that the sum over the last bytes has to end in zeros of, shifted away from those that change least.
const GEAR_SHIFT: u32 = 20;

fn fixed(image: &[u8], bytes: usize) -> Vec<&[u8]> {
    image.chunks(bytes).collect()
}

/// Cut where the last 64 bytes say so: at half the size at least, and at twice the size.
fn content_defined(image: &[u8], bytes: usize) -> Vec<&[u8]> {
    let gear: Vec<u64> = (0..=255_u8).map(|byte| gear_of(blake3::hash(&[byte]).as_bytes())).collect();
    let mask = ((bytes / 2) as u64 - 1) << GEAR_SHIFT;
    let (mut pieces, mut rest) = (Vec::new(), image);
    while !rest.is_empty() {
        let (least, most) = ((bytes / 2).min(rest.len()), (bytes * 2).min(rest.len()));
        let mut sum = 0_u64;
        let is_end = |byte: &u8| {
            sum = (sum << 1).wrapping_add(gear[usize::from(*byte)]);
            sum & mask == 0
        };
        let at = rest[least..most].iter().position(is_end).map_or(most, |at| least + at + 1);
        let (piece, behind) = rest.split_at(at);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

fn gear_of(hash: &[u8; 32]) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// MiB of the second image that the first does not have, plain and compressed.
fn new_mib(first: &[&[u8]], second: &[&[u8]]) -> std::io::Result<(f64, f64)> {
    let known: HashSet<_> = first.iter().map(|piece| blake3::hash(piece)).collect();
    let new: Vec<_> = second.iter().filter(|piece| !known.contains(&blake3::hash(piece))).collect();
    let mut packed = 0;
    for piece in &new {
        packed += zstd::bulk::compress(piece, 1)?.len().min(piece.len());
    }
    let plain: usize = new.iter().map(|piece| piece.len()).sum();
    Ok((plain as f64 / f64::from(1 << 20), packed as f64 / f64::from(1 << 20)))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<_> = env::args_os().skip(1).collect();
    let [first, second] = &paths[..] else { return Err("chunking FIRST SECOND".into()) };
    let (first, second) = (fs::read(first)?, fs::read(second)?);
    for kib in [4, 64, 128, 256, 512, 1024] {
        let (plain, packed) = new_mib(&fixed(&first, kib << 10), &fixed(&second, kib << 10))?;
        let cut = |image| content_defined(image, kib << 10);
        let (by_content, by_content_packed) = new_mib(&cut(&first), &cut(&second))?;
        println!(
            "{kib:4} KiB: fixed {plain:.1} MiB, packed {packed:.1}; by content {by_content:.1} MiB, packed {by_content_packed:.1}"
        );
    }
    Ok(())
}
