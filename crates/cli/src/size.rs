//! Sizes as people read them.

/// Units of sizes, each 1024 of the one before.
const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];

/// A size in the unit that fits.
pub fn size(bytes: u64) -> String {
    let mut told = format!("{bytes} B");
    let mut unit_bytes = 1.0;
    for unit in UNITS {
        unit_bytes *= 1024.0;
        if (bytes as f64) < unit_bytes {
            break;
        }
        told = format!("{:.1} {unit}", bytes as f64 / unit_bytes);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        for (bytes, expect) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), expect);
        }
    }
}
