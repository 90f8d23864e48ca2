//! Archives for layers, written as `tar` does.

const BLOCK_BYTES: usize = 512;

/// An archive that grows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Archive(Vec<u8>);

/// What an entry is, besides its name and content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    pub kind: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Archive {
    pub(crate) fn add(&mut self, name: &str, meta: Meta, link: &str, content: &[u8]) {
        let mut header = [0_u8; BLOCK_BYTES];
        let (prefix, name) = split(name);
        put(&mut header[..100], name.as_bytes());
        put(&mut header[100..108], format!("{:07o}", meta.mode).as_bytes());
        put(&mut header[108..116], format!("{:07o}", meta.uid).as_bytes());
        put(&mut header[116..124], format!("{:07o}", meta.gid).as_bytes());
        put(&mut header[124..136], format!("{:011o}", content.len()).as_bytes());
        put(&mut header[136..148], format!("{:011o}", 1_000_000_000).as_bytes());
        put(&mut header[148..156], b"        ");
        header[156] = meta.kind;
        put(&mut header[157..257], link.as_bytes());
        put(&mut header[257..265], b"ustar\x0000");
        put(&mut header[345..500], prefix.as_bytes());
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut header[148..156], format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK_BYTES), 0);
    }

    pub(crate) fn finish(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(bytes.len() + 2 * BLOCK_BYTES, 0);
        bytes
    }
}

fn put(field: &mut [u8], bytes: &[u8]) {
    assert!(bytes.len() <= field.len(), "{} bytes are too many for a field of a header", bytes.len());
    field[..bytes.len()].copy_from_slice(bytes);
}

/// A long name is written in two parts.
fn split(name: &str) -> (&str, &str) {
    if name.len() <= 100 {
        return ("", name);
    }
    let at =
        name.char_indices().filter(|(at, c)| *c == '/' && name.len() - at <= 101).map(|(at, _)| at).next();
    let at = at.expect("a name of a test fits into a header");
    (&name[..at], &name[at + 1..])
}
