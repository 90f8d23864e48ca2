//! Where the files of an archive are: enough of tar for what `docker save` writes. Layers, which strangers write, are
//! read elsewhere, by a process that is confined.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const BLOCK_BYTES: u64 = 512;
/// Entries of an archive, at most: an image has a few for each layer.
const ENTRIES_MAX: usize = 10_000;
/// Bytes of what is said of one entry ahead of it.
const EXTENSION_BYTES_MAX: u64 = 64 * 1024;
/// Links followed from one name.
const LINKS_MAX: usize = 8;

/// A part of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub offset: u64,
    pub length: u64,
}

/// The files of an archive, by name.
#[derive(Debug, Default)]
pub(super) struct Contents {
    files: BTreeMap<String, Span>,
    links: BTreeMap<String, String>,
}

impl Contents {
    /// Reads the headers of all entries.
    pub(super) fn read(archive: &File) -> io::Result<Self> {
        let length = archive.metadata()?.len();
        let (mut contents, mut said, mut at) = (Self::default(), BTreeMap::new(), 0);
        while at + BLOCK_BYTES <= length {
            let mut block = [0; BLOCK_BYTES as usize];
            archive.read_exact_at(&mut block, at)?;
            if block == [0; BLOCK_BYTES as usize] {
                break;
            }
            at += BLOCK_BYTES;
            let header = Header::parse(&block, &said)?;
            let end = header.size.checked_next_multiple_of(BLOCK_BYTES).and_then(|size| at.checked_add(size));
            let end = end.filter(|_| header.size <= length - at).ok_or_else(|| wrong("it is cut off"))?;
            match header.kind {
                b'x' => said = records(archive, at, header.size)?,
                _ => {
                    said.clear();
                    contents.add(header, at)?;
                }
            }
            at = end;
        }
        Ok(contents)
    }

    fn add(&mut self, header: Header, offset: u64) -> io::Result<()> {
        if self.files.len() + self.links.len() >= ENTRIES_MAX {
            return Err(wrong("it has too many entries"));
        }
        match header.kind {
            b'0' | 0 => drop(self.files.insert(plain(&header.name), Span { offset, length: header.size })),
            b'1' => drop(self.links.insert(plain(&header.name), plain(&header.link))),
            b'2' => {
                let dir = header.name.rsplit_once('/').map_or("", |(dir, _)| dir);
                drop(self.links.insert(plain(&header.name), plain(&format!("{dir}/{}", header.link))));
            }
            _ => {}
        }
        Ok(())
    }

    /// The file of this name, or that a link of this name leads to.
    pub(super) fn find(&self, name: &str) -> Option<Span> {
        let mut name = plain(name);
        for _ in 0..=LINKS_MAX {
            if let Some(span) = self.files.get(&name) {
                return Some(*span);
            }
            name = self.links.get(&name)?.clone();
        }
        None
    }
}

struct Header {
    name: String,
    link: String,
    kind: u8,
    size: u64,
}

impl Header {
    fn parse(block: &[u8; BLOCK_BYTES as usize], said: &BTreeMap<String, String>) -> io::Result<Self> {
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
            .sum();
        if number(&block[148..156]) != Some(sum) {
            return Err(wrong("it is no tar archive; a compressed one has to be decompressed first"));
        }
        let is_ustar = &block[257..263] == b"ustar\0";
        let prefix = if is_ustar { text(&block[345..500]) } else { String::new() };
        let name = text(&block[..100]);
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let size = match said.get("size") {
            Some(size) => size.parse().ok(),
            None => number(&block[124..136]),
        };
        Ok(Self {
            name: said.get("path").cloned().unwrap_or(name),
            link: said.get("linkpath").cloned().unwrap_or_else(|| text(&block[157..257])),
            kind: block[156],
            size: size.ok_or_else(|| wrong("a size in it is no number"))?,
        })
    }
}

/// What is said of the next entry (POSIX pax): lines of a length, a name and a value.
fn records(archive: &File, at: u64, size: u64) -> io::Result<BTreeMap<String, String>> {
    if size > EXTENSION_BYTES_MAX {
        return Err(wrong("what is said of an entry is too long"));
    }
    let mut bytes = vec![0; size as usize];
    archive.read_exact_at(&mut bytes, at)?;
    let (mut records, mut rest) = (BTreeMap::new(), bytes.as_slice());
    while let Some((record, after)) = record(rest) {
        if let Some((name, value)) = record.split_once('=') {
            records.insert(name.to_owned(), value.to_owned());
        }
        rest = after;
    }
    Ok(records)
}

fn record(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let record = bytes.get(space + 1..length.checked_sub(1)?)?;
    Some((std::str::from_utf8(record).ok()?, &bytes[length..]))
}

/// Octal digits, or, where those do not suffice, the bytes of a number.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        let (high, low) = field.split_at(field.len() - 8);
        let fits = high[1..].iter().all(|byte| *byte == 0);
        return low.try_into().ok().map(u64::from_be_bytes).filter(|_| fits);
    }
    u64::from_str_radix(text(field).trim(), 8).ok()
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// A name without `.` and `..`, which are resolved as far as they go.
fn plain(name: &str) -> String {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The bytes of a part.
pub(super) fn read_span(archive: &File, span: Span, bytes_max: usize) -> io::Result<Vec<u8>> {
    if span.length > bytes_max as u64 {
        return Err(wrong(&format!("a file in it has more than {bytes_max} bytes")));
    }
    let mut bytes = vec![0; span.length as usize];
    archive.read_exact_at(&mut bytes, span.offset)?;
    Ok(bytes)
}
