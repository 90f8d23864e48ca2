//! Archives, byte for byte as a test wants them.

use std::io::Write;

/// An entry. What a test does not set is what a plain file of root has.
#[derive(Debug, Clone)]
pub struct Item {
    pub name: Vec<u8>,
    pub type_flag: u8,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: i64,
    pub link: Vec<u8>,
    pub device: (u32, u32),
    pub content: Vec<u8>,
    /// What the header says, where that is not the content's length.
    pub size: Option<u64>,
    pub pax: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The time entries have.
pub const TIME: i64 = 1_600_000_000;

impl Item {
    pub fn new(type_flag: u8, name: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            type_flag,
            mode: 0o644,
            owner: (0, 0),
            mtime: TIME,
            link: Vec::new(),
            device: (0, 0),
            content: Vec::new(),
            size: None,
            pax: Vec::new(),
        }
    }

    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self { content: content.as_ref().to_vec(), ..Self::new(b'0', name) }
    }

    pub fn dir(name: impl AsRef<[u8]>) -> Self {
        Self { mode: 0o755, ..Self::new(b'5', name) }
    }

    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), mode: 0o777, ..Self::new(b'2', name) }
    }

    pub fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::new(b'1', name) }
    }

    pub fn device(type_flag: u8, name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self { device: (major, minor), ..Self::new(type_flag, name) }
    }

    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub fn owner(self, uid: u32, gid: u32) -> Self {
        Self { owner: (uid, gid), ..self }
    }

    pub fn mtime(self, mtime: i64) -> Self {
        Self { mtime, ..self }
    }

    pub fn size(self, size: u64) -> Self {
        Self { size: Some(size), ..self }
    }

    pub fn pax(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(format!("SCHILY.xattr.{name}"), value)
    }

    /// The header and the content, with an extended header before them if there is something to say in it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut pax = self.pax.clone();
        if self.name.len() > 100 {
            pax.push((b"path".to_vec(), self.name.clone()));
        }
        if self.link.len() > 100 {
            pax.push((b"linkpath".to_vec(), self.link.clone()));
        }
        let mut bytes = Vec::new();
        if !pax.is_empty() {
            let records = pax.iter().flat_map(|(key, value)| record(key, value)).collect::<Vec<_>>();
            bytes = Self::file("pax", records).type_flag(b'x').bytes();
        }
        bytes.extend(self.header());
        bytes.extend(padded(&self.content));
        bytes
    }

    pub fn type_flag(self, type_flag: u8) -> Self {
        Self { type_flag, ..self }
    }

    /// The header alone.
    pub fn header(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let size = self.size.unwrap_or(self.content.len() as u64);
        put(&mut block, 0, &self.name[..self.name.len().min(100)]);
        put(&mut block, 100, format!("{:07o}", self.mode).as_bytes());
        put(&mut block, 108, &number(self.owner.0.into(), 8));
        put(&mut block, 116, &number(self.owner.1.into(), 8));
        put(&mut block, 124, &number(size as i64, 12));
        put(&mut block, 136, &number(self.mtime, 12));
        block[156] = self.type_flag;
        put(&mut block, 157, &self.link[..self.link.len().min(100)]);
        put(&mut block, 257, b"ustar\x0000");
        put(&mut block, 329, format!("{:07o}", self.device.0).as_bytes());
        put(&mut block, 337, format!("{:07o}", self.device.1).as_bytes());
        sealed(block)
    }
}

/// The block with the checksum it needs.
pub fn sealed(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut block, 148, format!("{sum:06o}\0").as_bytes());
    block
}

fn put(block: &mut [u8; 512], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Octal where it fits, base 256 where not.
fn number(number: i64, width: usize) -> Vec<u8> {
    let octal = format!("{number:0width$o}", width = width - 1);
    if number >= 0 && octal.len() < width {
        return octal.into_bytes();
    }
    let mut field = vec![if number < 0 { 0xff } else { 0 }; width - 8];
    field.extend(number.to_be_bytes());
    field[0] |= 0x80;
    field
}

/// A record of an extended header. Its length counts its own digits.
pub fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key, b"=", value, b"\n"].concat();
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length = length.to_string().len() + rest.len();
    }
    [length.to_string().as_bytes(), &rest].concat()
}

/// The content, up to a block's end.
pub fn padded(content: &[u8]) -> Vec<u8> {
    let mut padded = content.to_vec();
    padded.resize(content.len().next_multiple_of(512), 0);
    padded
}

/// An archive of these entries, ended as archives are.
pub fn archive<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<u8> {
    let mut bytes: Vec<u8> = items.into_iter().flat_map(Item::bytes).collect();
    bytes.extend([0; 1024]);
    bytes
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}
