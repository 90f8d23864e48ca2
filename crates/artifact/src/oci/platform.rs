//! Which image of several is for this machine.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::failure::{Pulled, invalid, not_found};

/// What an image runs on, as indexes say it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(default)]
    pub variant: Option<String>,
}

impl Platform {
    /// This machine's.
    pub(crate) fn here() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            other => (other, None),
        };
        Self { architecture: architecture.into(), os: "linux".into(), variant: variant.map(Into::into) }
    }

    /// How well an image for `other` fits; none if it does not. Variants of one architecture run on newer ones, and
    /// `level` is this machine's.
    fn fit(&self, other: &Self, level: u32) -> Option<u32> {
        if (&self.os, &self.architecture) != (&other.os, &other.architecture) {
            return None;
        }
        let Some(variant) = other.variant.as_deref().filter(|variant| !variant.is_empty()) else {
            return Some(level);
        };
        if Some(variant) == self.variant.as_deref() {
            return Some(level + 1);
        }
        let number = variant.strip_prefix('v').and_then(|number| number.parse::<u32>().ok())?;
        (self.architecture == "amd64" && number <= level).then_some(number.min(level))
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// The level of x86-64 that this machine is sure to have: anything with vector instructions of 2013 is the third.
pub(crate) fn level_here() -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        let third = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2");
        let second = is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("popcnt");
        match (second, third && is_x86_feature_detected!("fma")) {
            (true, true) => 3,
            (true, false) => 2,
            _ => 1,
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    1
}

/// The entry for this machine: the one that fits best, and the first of those; or the only one, where it does not say
/// what it is for.
pub(crate) fn choose<'a, T>(
    name: &str,
    entries: &'a [T],
    platform: impl Fn(&T) -> Option<&Platform>,
    (here, level): (&Platform, u32),
) -> Pulled<&'a T> {
    let fits = entries.iter().enumerate().filter_map(|(index, entry)| {
        let fit = here.fit(platform(entry)?, level)?;
        Some((fit, std::cmp::Reverse(index), entry))
    });
    if let Some((.., entry)) = fits.max_by_key(|(fit, index, _)| (*fit, *index)) {
        return Ok(entry);
    }
    match entries {
        [] => Err(invalid(format!("{name} is an index of nothing"))),
        [only] if platform(only).is_none() => Ok(only),
        _ => Err(not_found(none_fits(name, entries.iter().filter_map(platform), here))),
    }
}

fn none_fits<'a>(name: &str, there: impl Iterator<Item = &'a Platform>, here: &Platform) -> String {
    // Build records stand among images as images for `unknown/unknown`.
    let there: BTreeSet<_> =
        there.filter(|platform| platform.os != "unknown").map(ToString::to_string).collect();
    let there = there.into_iter().collect::<Vec<_>>().join(", ");
    if there.is_empty() {
        return format!("{name} has no image for {here}, and does not say for what it has some");
    }
    format!("{name} has no image for {here}, but for {there}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Option<Platform> {
        let mut parts = text.split('/').map(str::to_owned);
        let (os, architecture) = (parts.next()?, parts.next()?);
        Some(Platform { os, architecture, variant: parts.next() })
    }

    fn chosen(there: &[&str], here: &str, level: u32) -> Result<usize, String> {
        let here = platform(here).unwrap();
        let entries: Vec<_> = there.iter().map(|text| platform(text)).enumerate().collect();
        choose("r.test/it", &entries, |(_, platform)| platform.as_ref(), (&here, level))
            .map(|(index, _)| *index)
            .map_err(|failure| failure.message)
    }

    #[test]
    fn the_image_that_fits_best_is_chosen() {
        assert_eq!(chosen(&["linux/arm64/v8", "linux/amd64"], "linux/amd64", 3), Ok(1));
        assert_eq!(chosen(&["linux/amd64/v4", "linux/amd64/v2", "linux/amd64"], "linux/amd64", 3), Ok(2));
        assert_eq!(chosen(&["linux/amd64/v4", "linux/amd64/v1", "linux/amd64/v2"], "linux/amd64", 3), Ok(2));
        assert_eq!(chosen(&["linux/arm64", "linux/arm64/v8"], "linux/arm64/v8", 1), Ok(1));
        assert_eq!(chosen(&["linux/amd64", "linux/amd64"], "linux/amd64", 3), Ok(0));
        assert_eq!(chosen(&["?"], "linux/amd64", 3), Ok(0));
    }

    #[test]
    fn where_none_fits_those_there_are_are_named() {
        let there = ["windows/amd64", "linux/arm/v7", "unknown/unknown"];
        let refusal = chosen(&there, "linux/amd64", 3).unwrap_err();
        assert_eq!(refusal, "r.test/it has no image for linux/amd64, but for linux/arm/v7, windows/amd64");
        assert!(chosen(&["linux/amd64/v4"], "linux/amd64", 3).unwrap_err().contains("linux/amd64/v4"));
        assert!(chosen(&[], "linux/amd64", 3).unwrap_err().contains("nothing"));
        assert!(chosen(&["?", "?"], "linux/amd64", 3).is_err());
    }
}
