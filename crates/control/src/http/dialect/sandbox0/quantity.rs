//! Quantities as Kubernetes writes them: `500m`, `0.5`, `2Gi`, `1e3`. Pure.
//!
//! They are kept exactly, to the billionth; what is finer is rounded away from zero, as Kubernetes does.

use std::fmt;
use std::str::FromStr;

/// Billionths of one.
const ONE: i128 = 1_000_000_000;

/// Bytes of a MiB.
const MIB: i128 = 1024 * 1024;

/// A number is that long at most.
const BYTES_MAX: usize = 64;

/// Suffixes, and what they stand for in billionths. The longest that divides a number is the one it is written with.
const SUFFIXES: [(&str, i128); 16] = [
    ("Ei", ONE << 60),
    ("Pi", ONE << 50),
    ("Ti", ONE << 40),
    ("Gi", ONE << 30),
    ("Mi", ONE << 20),
    ("Ki", ONE << 10),
    ("", ONE),
    ("m", ONE / 1000),
    ("u", ONE / 1_000_000),
    ("n", 1),
    ("k", ONE * 1000),
    ("M", ONE * 1_000_000),
    ("G", ONE * 1_000_000_000),
    ("T", ONE * 1_000_000_000_000),
    ("P", ONE * 1_000_000_000_000_000),
    ("E", ONE * 1_000_000_000_000_000_000),
];

/// How many of them are written.
const WRITTEN: usize = 10;

/// A quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

impl Quantity {
    /// None.
    pub const ZERO: Self = Self(0);

    /// So many.
    pub fn whole(number: u32) -> Self {
        Self(i128::from(number) * ONE)
    }

    /// So many MiB, in bytes.
    pub fn mib(number: u32) -> Self {
        Self(i128::from(number) * MIB * ONE)
    }

    /// Whole ones, rounded up. None below zero.
    pub fn in_whole(self) -> u32 {
        ceil(self.0, ONE)
    }

    /// Bytes in whole MiB, rounded up. None below zero.
    pub fn in_mib(self) -> u32 {
        ceil(self.0, MIB * ONE)
    }
}

fn ceil(number: i128, unit: i128) -> u32 {
    let up = number.max(0) / unit + i128::from(number.max(0) % unit != 0);
    u32::try_from(up).unwrap_or(u32::MAX)
}

impl FromStr for Quantity {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let is_part = |c: char| c.is_ascii_digit() || c == '.';
        let (number, suffix) = unsigned.split_at(unsigned.find(|c| !is_part(c)).unwrap_or(unsigned.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_bad = (whole.is_empty() && fraction.is_empty()) || fraction.contains('.');
        if is_bad || text.len() > BYTES_MAX {
            return Err(());
        }
        let digits: i128 = format!("{whole}{fraction}").parse().map_err(|_| ())?;
        let scale = u32::try_from(fraction.len()).map_err(|_| ())?;
        let (unit, divisor) = unit(suffix, scale)?;
        let product = digits.checked_mul(unit).ok_or(())?;
        let nanos = product / divisor + i128::from(product % divisor != 0);
        Ok(Self(if text.starts_with('-') { -nanos } else { nanos }))
    }
}

/// What digits with so many of them behind the point are multiplied with, and divided by.
fn unit(suffix: &str, scale: u32) -> Result<(i128, i128), ()> {
    let power = |exponent: u32| 10i128.checked_pow(exponent).ok_or(());
    let divisor = power(scale)?;
    if let Some((_, unit)) = SUFFIXES.iter().find(|(known, _)| *known == suffix) {
        return Ok((*unit, divisor));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E']).ok_or(())?.parse().map_err(|_| ())?;
    let factor = power(exponent.unsigned_abs())?;
    let of = |left: i128, right: i128| left.checked_mul(right).ok_or(());
    if exponent < 0 { Ok((ONE, of(divisor, factor)?)) } else { Ok((of(ONE, factor)?, divisor)) }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, unit): &&(&str, i128)| self.0 != 0 && self.0 % unit == 0;
        match SUFFIXES[..WRITTEN].iter().find(fits) {
            Some((suffix, unit)) => write!(f, "{}{suffix}", self.0 / unit),
            None => f.write_str("0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expect: Option<&str>) {
        let printed = text.parse::<Quantity>().ok().map(|quantity| quantity.to_string());
        assert_eq!(printed.as_deref(), expect, "{text}");
    }

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        check("2Gi", Some("2Gi"));
        check("0.5", Some("500m"));
        check("1.5Gi", Some("1536Mi"));
        check("500m", Some("500m"));
        check("1e3", Some("1000"));
        check("1E-3", Some("1m"));
        check("1E", Some("1000000000000000000"));
        check("12e6", Some("12000000"));
        check(".5", Some("500m"));
        check("1.", Some("1"));
        check("+4", Some("4"));
        check("-1Gi", Some("-1Gi"));
        check("0", Some("0"));
        check("0.0000000001", Some("1n"));
        for bad in
            ["", ".", "Gi", "1 Gi", "1gi", "1K", "1KiB", "1..2", "--1", "1e", "1e99", "0x1", "٣", "NaN"]
        {
            check(bad, None);
        }
        check(&"9".repeat(65), None);
        check(&"9".repeat(39), None);
    }

    #[test]
    fn what_is_rounded_is_rounded_up() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(
            (quantity("500m").in_whole(), quantity("2").in_whole(), quantity("2.1").in_whole()),
            (1, 2, 3)
        );
        assert_eq!(
            (quantity("1G").in_mib(), quantity("2Gi").in_mib(), quantity("1").in_mib()),
            (954, 2048, 1)
        );
        assert_eq!((quantity("-5").in_whole(), quantity("8Ei").in_mib()), (0, u32::MAX));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_as_it_was(nanos in any::<i64>(), shift in 0u32..60) {
            let quantity = Quantity(i128::from(nanos) << shift);
            prop_assert_eq!(quantity.to_string().parse(), Ok(quantity));
        }

        #[test]
        fn mib_and_whole_ones_come_back(number: u32) {
            prop_assert_eq!(Quantity::mib(number).in_mib(), number);
            prop_assert_eq!(Quantity::whole(number).in_whole(), number);
            prop_assert_eq!(Quantity::mib(number).to_string().parse(), Ok(Quantity::mib(number)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+]?[0-9.]{0,70}[eEKMGTPimun0-9-]{0,6}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
