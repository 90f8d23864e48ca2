//! Records that stand before an entry (POSIX.1-2001, `pax`, "Extended Header").

use crate::rootfs::layers::Fault;

/// What the entries before an entry say about it.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub pax: Records,
    pub long_name: Option<Vec<u8>>,
    pub long_link: Option<Vec<u8>>,
}

impl Extensions {
    pub fn is_empty(&self) -> bool {
        self.pax.0.is_empty() && self.long_name.is_none() && self.long_link.is_none()
    }
}

/// Keys and values, in the order they were written. Of two of one key the last one counts.
#[derive(Debug, Default)]
pub(super) struct Records(pub Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// The value of a key. An empty one takes back what was said.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let (_, value) = self.0.iter().rev().find(|(known, _)| known == key.as_bytes())?;
        (!value.is_empty()).then_some(value.as_slice())
    }

    /// The decimal number that a key has.
    pub fn number(&self, key: &str) -> Result<Option<u64>, Fault> {
        self.get(key).map(|value| decimal(value, key)).transpose()
    }
}

/// The records of an extended header: each is its length, a space, the key, `=`, the value and a line's end.
pub(super) fn parse(mut content: &[u8]) -> Result<Records, Fault> {
    let malformed = || Fault::new("an extended header is malformed");
    let mut records = Records::default();
    while !content.is_empty() {
        let space = content.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let length = decimal(&content[..space], "a record's length")? as usize;
        let record = content.get(space + 1..length).ok_or_else(malformed)?;
        let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if key.is_empty() || key.contains(&0) {
            return Err(malformed());
        }
        records.0.push((key.to_vec(), value.to_vec()));
        content = &content[length..];
    }
    Ok(records)
}

/// A number in decimal digits and nothing else.
pub(super) fn decimal(text: &[u8], what: &str) -> Result<u64, Fault> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse::<u64>().ok());
    // Go's numbers have a sign, and so have the kernel's sizes.
    number
        .filter(|number| i64::try_from(*number).is_ok())
        .ok_or_else(|| Fault::new(format!("{what} `{}` is not a number", text.escape_ascii())))
}

/// Seconds since 1970 with a fraction, as seconds and nanoseconds. Digits beyond those are left out.
pub(super) fn time(text: &[u8]) -> Result<(i64, u32), Fault> {
    let malformed = || Fault::new(format!("mtime `{}` is not a time", text.escape_ascii()));
    let text = std::str::from_utf8(text).map_err(|_| malformed())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || whole.starts_with('+') {
        return Err(malformed());
    }
    let seconds: i64 = whole.parse().map_err(|_| malformed())?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().map_err(|_| malformed())?;
    if !whole.starts_with('-') || nanoseconds == 0 {
        return Ok((seconds, nanoseconds));
    }
    Ok((seconds.checked_sub(1).ok_or_else(malformed)?, 1_000_000_000 - nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_anything_and_the_last_one_counts() {
        let records = parse(b"9 a=\n=\0\n\n").unwrap();
        assert_eq!(records.get("a"), Some(&b"\n=\0\n"[..]));
        let records = parse(b"6 a=1\n6 a=2\n6 b=3\n5 b=\n").unwrap();
        assert_eq!((records.get("a"), records.get("b")), (Some(&b"2"[..]), None));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for content in [&b"x"[..], b"6 a=1", b"6 a=12", b"4 a\n", b"5 =1\n", b"2 \n", b"0 a=1\n", b"99 a=1\n"]
        {
            assert!(parse(content).is_err(), "{}", content.escape_ascii());
        }
        assert!(parse(b"18446744073709551616 a=1\n").is_err());
        assert!(parse(b"-6 a=1\n").is_err());
    }

    #[test]
    fn times_have_fractions_and_come_before_1970_too() {
        assert_eq!(time(b"1.5").unwrap(), (1, 500_000_000));
        assert_eq!(time(b"1350244992.023960108").unwrap(), (1_350_244_992, 23_960_108));
        assert_eq!(time(b"-1.25").unwrap(), (-2, 750_000_000));
        assert_eq!(time(b"-1").unwrap(), (-1, 0));
        assert_eq!(time(b"0.0000000019").unwrap(), (0, 1));
        for text in [&b""[..], b".5", b"1.5x", b"1e5", b"+1", b"--1", b"1.-5"] {
            assert!(time(text).is_err(), "{}", text.escape_ascii());
        }
    }
}
