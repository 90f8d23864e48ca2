//! Where lines begin and end in a file, found without holding the file in memory.

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use super::PIECE_BYTES;

/// Bytes from the start of `file` to the end of its first `lines` lines, or all of it if it has no more.
pub fn head_bytes(file: &impl FileExt, lines: u64) -> io::Result<u64> {
    let mut left = lines;
    let mut at = 0;
    let mut piece = vec![0; PIECE_BYTES];
    while left > 0 {
        let length = read_at(file, &mut piece, at)?;
        if length == 0 {
            break;
        }
        for (index, _) in piece[..length].iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            left -= 1;
            if left == 0 {
                return Ok(at + index as u64 + 1);
            }
        }
        at += length as u64;
    }
    Ok(at)
}

/// Where the last `lines` lines of the first `size_bytes` of `file` begin. A newline at the very end begins no line.
pub fn tail_offset(file: &impl FileExt, size_bytes: u64, lines: u64) -> io::Result<u64> {
    if lines == 0 {
        return Ok(size_bytes);
    }
    let mut newlines_left = lines;
    let mut end = size_bytes;
    let mut piece = vec![0; PIECE_BYTES];
    while end > 0 {
        let start = end.saturating_sub(PIECE_BYTES as u64);
        let block = &mut piece[..(end - start) as usize];
        file.read_exact_at(block, start)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + index as u64 + 1;
            if after == size_bytes {
                continue;
            }
            newlines_left -= 1;
            if newlines_left == 0 {
                return Ok(after);
            }
        }
        end = start;
    }
    Ok(0)
}

/// The size found by reading to the end: for files that only say what they hold when read (`/proc`).
pub fn measure(file: &impl FileExt) -> io::Result<u64> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    loop {
        match read_at(file, &mut piece, at)? {
            0 => return Ok(at),
            length => at += length as u64,
        }
    }
}

fn read_at(file: &impl FileExt, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn file_of(content: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    /// The straightforward answer: lines with their newlines.
    fn lines_of(content: &[u8]) -> Vec<&[u8]> {
        content.split_inclusive(|byte| *byte == b'\n').collect()
    }

    fn check(content: &[u8], lines: usize) {
        let file = file_of(content);
        let all = lines_of(content);
        let head: usize = all.iter().take(lines).map(|line| line.len()).sum();
        assert_eq!(head_bytes(&file, lines as u64).unwrap(), head as u64);
        let tail: usize = all.iter().rev().take(lines).map(|line| line.len()).sum();
        let offset = tail_offset(&file, content.len() as u64, lines as u64).unwrap();
        assert_eq!(offset, (content.len() - tail) as u64);
        assert_eq!(measure(&file).unwrap(), content.len() as u64);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn lines_are_where_splitting_finds_them(content in "[a\n]{0,40}", lines in 0usize..12) {
            check(content.as_bytes(), lines);
        }
    }

    #[test]
    fn lines_longer_than_a_piece_are_whole() {
        let line = [vec![b'x'; 3 * PIECE_BYTES / 2], vec![b'\n']].concat();
        let content = line.repeat(4);
        for lines in 0..6 {
            check(&content, lines);
            check(&content[..content.len() - 1], lines);
        }
    }
}
