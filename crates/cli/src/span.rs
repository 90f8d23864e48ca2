//! Spans of time as people write and read them.

use jiff::Timestamp;

/// Units, the largest first, with their seconds.
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// Reads seconds: `90`, `90s`, `15m`, `2h` or `7d`. For clap.
///
/// # Errors
/// What would have been right.
pub fn seconds(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => Some(1),
        unit => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| *seconds),
    };
    let seconds = unit.zip(digits.parse::<u64>().ok()).and_then(|(unit, count)| count.checked_mul(unit));
    let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
    seconds.ok_or_else(|| "expected seconds, or a number with s, m, h or d: `90`, `15m`, `2h`".to_owned())
}

/// A span in its largest fitting unit: `3 m`.
pub fn short(seconds: u64) -> String {
    let fitting = UNITS.iter().find(|(_, unit)| seconds >= 2 * unit).unwrap_or(&UNITS[3]);
    format!("{} {}", seconds / fitting.1, fitting.0)
}

/// How long ago an RFC 3339 time was: `3 m ago`. One that is not a time is shown as it is.
pub fn ago(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => format!("{} ago", short(since(time, now))),
        Err(_) => time.to_owned(),
    }
}

/// When an RFC 3339 time is: `in 3 m`, or `3 m ago`. One that is not a time is shown as it is.
pub fn from_now(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>().map(|time| u64::try_from(time.as_second())) {
        Ok(Ok(seconds)) => until(seconds, now),
        _ => time.to_owned(),
    }
}

/// When a time in Unix seconds is: `in 3 m`, or `3 m ago`.
pub fn until(unix_seconds: u64, now: Timestamp) -> String {
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    match unix_seconds.checked_sub(now) {
        Some(left) => format!("in {}", short(left)),
        None => format!("{} ago", short(now - unix_seconds)),
    }
}

fn since(time: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_second().saturating_sub(time.as_second())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_as_people_write_them() {
        let read = |text| seconds(text).ok();
        assert_eq!(read("90"), Some(90));
        assert_eq!(read("90s"), Some(90));
        assert_eq!(read("15m"), Some(900));
        assert_eq!(read("2h"), Some(7200));
        assert_eq!(read("7d"), Some(604_800));
        for wrong in ["", "m", "1.5h", "-3", "3w", "3 m", "99999999999", "1hm", "９"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn times_are_told_in_one_unit() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let check = |time: &str, expect: &str| assert_eq!(ago(time, now), expect);
        check("2026-01-02T03:04:05Z", "0 s ago");
        check("2026-01-02T03:04:04.5Z", "1 s ago");
        check("2026-01-02T03:02:06Z", "119 s ago");
        check("2026-01-02T03:02:05Z", "2 m ago");
        check("2026-01-01T03:04:05Z", "24 h ago");
        check("2025-12-01T00:00:00Z", "32 d ago");
        check("2026-01-02T03:04:06Z", "0 s ago");
        check("never", "never");
        let at = u64::try_from(now.as_second()).unwrap();
        assert_eq!(until(at + 300, now), "in 5 m");
        assert_eq!(until(at - 3, now), "3 s ago");
        assert_eq!(from_now("2026-01-02T04:04:05Z", now), "in 60 m");
        assert_eq!(from_now("never", now), "never");
    }
}
