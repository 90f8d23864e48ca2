//! From when until when a certificate counts: the little of X.509 (RFC 5280, 4.1) that has to be read for it.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The version, which the oldest certificates have not.
const VERSION: u8 = 0xa0;

/// The first years of the two centuries that two digits can mean (RFC 5280, 4.1.2.5.1).
const PIVOT_YEAR: i16 = 50;

/// From when until when something counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

impl Validity {
    /// That of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let mut whole = Reader(certificate);
        let mut signed = Reader(Reader(whole.take(SEQUENCE)?).take(SEQUENCE)?);
        if signed.peek() == Some(VERSION) {
            signed.take(VERSION)?;
        }
        signed.take(INTEGER)?;
        // How it was signed, and by whom.
        signed.take(SEQUENCE)?;
        signed.take(SEQUENCE)?;
        let mut times = Reader(signed.take(SEQUENCE)?);
        Some(Self { from: times.time()?, until: times.time()? })
    }

    /// That of the first certificate in a text of PEM.
    pub fn of_pem(text: &str) -> Option<Self> {
        Self::of(&CertificateDer::from_pem_slice(text.as_bytes()).ok()?)
    }

    /// How long it counts.
    pub fn life(&self) -> SignedDuration {
        self.until.duration_since(self.from)
    }
}

/// What is left of some DER (X.690).
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next value, which is of this kind.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match first {
            0..0x80 => (usize::from(first), rest),
            _ => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                if digits.len() > size_of::<u32>() {
                    return None;
                }
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn time(&mut self) -> Option<Timestamp> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: i16 = year.parse().ok()?;
                (if year < PIVOT_YEAR { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        let two = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
        let day = jiff::civil::Date::new(year, two(0)?, two(2)?).ok()?;
        let time = jiff::civil::Time::new(two(4)?, two(6)?, two(8)?, 0).ok()?;
        Some(day.to_datetime(time).to_zoned(TimeZone::UTC).ok()?.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        assert!(content.len() < 0x80);
        [&[tag, content.len() as u8], content].concat()
    }

    fn certificate(version: &[u8], from: &[u8], until: &[u8]) -> CertificateDer<'static> {
        let parts = [
            version,
            &value(INTEGER, &[7]),
            &value(SEQUENCE, &[]),
            &value(SEQUENCE, b"who"),
            &value(SEQUENCE, &[from, until].concat()),
        ];
        value(SEQUENCE, &value(SEQUENCE, &parts.concat())).into()
    }

    #[test]
    fn both_ways_to_write_a_time_are_read() {
        let version = value(VERSION, &value(INTEGER, &[2]));
        let from = value(UTC_TIME, b"261127010203Z");
        let until = value(GENERALIZED_TIME, b"20500101000000Z");
        let validity = Validity::of(&certificate(&version, &from, &until)).unwrap();
        assert_eq!(validity.from, "2026-11-27T01:02:03Z".parse().unwrap());
        assert_eq!(validity.until, "2050-01-01T00:00:00Z".parse().unwrap());
        let old = certificate(&[], &value(UTC_TIME, b"991231235959Z"), &from);
        assert_eq!(Validity::of(&old).unwrap().from, "1999-12-31T23:59:59Z".parse().unwrap());
    }

    #[test]
    fn what_is_no_certificate_has_none_however_it_ends() {
        let time = value(UTC_TIME, b"261127010203Z");
        let whole = certificate(&[], &time, &time);
        assert!(Validity::of(&whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..length].to_vec().into()), None, "{length} bytes");
        }
        let strange = certificate(&[], &time, &value(UTC_TIME, b"261327010203Z"));
        assert_eq!(Validity::of(&strange), None);
        assert_eq!(Validity::of(&vec![SEQUENCE, 0xff, 1, 2, 3].into()), None);
        assert_eq!(Validity::of_pem("nothing"), None);
    }
}
