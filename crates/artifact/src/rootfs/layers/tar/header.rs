//! A header block: its fields, where POSIX and GNU put them.

use crate::rootfs::layers::Fault;

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 512;

/// Which of the formats a header is in: it decides what the last third of the block means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Gnu,
}

/// A block of an archive.
#[derive(Debug)]
pub(super) struct Block(pub [u8; BLOCK_BYTES]);

impl Block {
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// Itself, if its checksum is right: the sum of its bytes, with spaces in the place of the sum. Some tools
    /// added signed bytes.
    pub fn checked(self) -> Result<Self, Fault> {
        let bytes = || {
            let outside = |at: &usize| !(148..156).contains(at);
            (0..BLOCK_BYTES).map(move |at| if outside(&at) { self.0[at] } else { b' ' })
        };
        let unsigned: i64 = bytes().map(i64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte as i8)).sum();
        let said = number(&self.0[148..156], "checksum")?;
        if said == unsigned || said == signed {
            return Ok(self);
        }
        Err(Fault::new("a header's checksum is wrong"))
    }

    pub fn format(&self) -> Format {
        match (&self.0[257..263], &self.0[263..265]) {
            (b"ustar\0", _) => Format::Ustar,
            (b"ustar ", b" \0") => Format::Gnu,
            _ => Format::V7,
        }
    }

    pub fn type_flag(&self) -> u8 {
        self.0[156]
    }

    /// The name, with its first part where the format has one apart.
    pub fn name(&self) -> Vec<u8> {
        let (name, prefix) = (until_nul(&self.0[..100]), until_nul(&self.0[345..500]));
        if self.format() == Format::Ustar && !prefix.is_empty() {
            return [prefix, b"/", name].concat();
        }
        name.to_vec()
    }

    pub fn link(&self) -> &[u8] {
        until_nul(&self.0[157..257])
    }

    pub fn mode(&self) -> Result<u32, Fault> {
        number(&self.0[100..108], "mode").map(|mode| mode as u32 & 0o7777)
    }

    pub fn uid(&self) -> Result<u64, Fault> {
        positive(&self.0[108..116], "uid")
    }

    pub fn gid(&self) -> Result<u64, Fault> {
        positive(&self.0[116..124], "gid")
    }

    pub fn size(&self) -> Result<u64, Fault> {
        positive(&self.0[124..136], "size")
    }

    pub fn mtime(&self) -> Result<i64, Fault> {
        number(&self.0[136..148], "mtime")
    }

    /// The numbers of a device.
    pub fn device(&self) -> Result<(u32, u32), Fault> {
        if self.format() == Format::V7 {
            return Ok((0, 0));
        }
        let part = |field, what| {
            let number = positive(field, what)?;
            u32::try_from(number).map_err(|_| Fault::new(format!("{what} {number} is over what Linux has")))
        };
        Ok((part(&self.0[329..337], "device major")?, part(&self.0[337..345], "device minor")?))
    }
}

/// What comes before the first NUL.
pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number that cannot be less than zero.
pub(super) fn positive(field: &[u8], what: &str) -> Result<u64, Fault> {
    let number = number(field, what)?;
    u64::try_from(number).map_err(|_| Fault::new(format!("{what} is {number}")))
}

/// A number in octal digits between spaces and NULs, or in base 256 with the first bit set.
fn number(field: &[u8], what: &str) -> Result<i64, Fault> {
    let malformed = || Fault::new(format!("a header's {what} is not a number"));
    if field[0] & 0x80 != 0 {
        return base_256(field).ok_or_else(malformed);
    }
    let is_filler = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field.iter().position(|byte| !is_filler(byte)).unwrap_or(field.len());
    let digits = until_nul(&field[start..]);
    let end = digits.iter().rposition(|byte| !is_filler(byte)).map_or(0, |last| last + 1);
    let digits = std::str::from_utf8(&digits[..end]).map_err(|_| malformed())?;
    match digits {
        "" => Ok(0),
        _ if digits.starts_with('+') => Err(malformed()),
        _ => i64::from_str_radix(digits, 8).map_err(|_| malformed()),
    }
}

/// Two's complement, big end first, in all bits but the first.
fn base_256(field: &[u8]) -> Option<i64> {
    let is_negative = field[0] & 0x40 != 0;
    let start = if is_negative { -1i64 } else { 0 };
    let first = if is_negative { field[0] | 0x80 } else { field[0] & 0x7f };
    // Sign-extended by hand: the first byte has seven bits.
    let bytes = std::iter::once(first).chain(field[1..].iter().copied());
    bytes.enumerate().try_fold(start, |value, (index, byte)| {
        let value = if index == 0 && is_negative { -1 } else { value };
        value.checked_mul(256)?.checked_add(i64::from(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_every_tool_writes_them() {
        let check = |field: &[u8], expect: Option<i64>| {
            assert_eq!(number(field, "it").ok(), expect, "{}", field.escape_ascii());
        };
        check(b"0000644\0", Some(0o644));
        check(b"  644 \0\0", Some(0o644));
        check(b"644\0junk", Some(0o644));
        check(b"\0\0\0\0\0\0\0\0", Some(0));
        check(b"77777777777\0", Some(0o77777777777));
        check(b"-0000001", Some(-1));
        check(b"+0000001", None);
        check(b"00000008", None);
        check(b"not octl", None);
        check(b"\x80\0\0\0\0\0\x01\0", Some(256));
        check(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX));
        check(b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None);
        check(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2));
        check(b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN));
        check(b"\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0", None);
    }
}
