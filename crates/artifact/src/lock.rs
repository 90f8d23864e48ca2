//! Which packages an image is made of, exactly: `images/*.lock`.
//!
//! A lock names each package with its version and the hash of its file. A
//! mirror that has them all gives the image the lock says; one that has moved
//! on gives another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::{Error, Result};

/// What comes before the packages in a lock's file.
const HEADING: &str = "\
# The packages of this image: name, architecture, version, SHA-256 of the file.
# Written by `cargo run --release -p artifact --example lock`.
";
/// Differences that are told one by one.
const DIFFERENCES_MAX: usize = 20;
/// Above what apt wants by itself: even an older version is taken (`apt_preferences(5)`).
const PIN_PRIORITY: u32 = 1001;
/// Digits of a hash.
const SHA256_DIGITS: usize = 64;

/// The packages of an image, by name and architecture. With none, any will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    packages: BTreeMap<Name, Package>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    package: String,
    architecture: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Package {
    version: String,
    sha256: String,
}

impl Lock {
    /// The lock that this text is, of a file called so.
    ///
    /// # Errors
    /// When a line is not a package; naming both.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let packages = lines.map(|(index, line)| {
            let problem =
                || format!("line {} is not a package, an architecture, a version and a SHA-256", index + 1);
            package(line).ok_or_else(|| Error::Recipe { file: file.to_owned(), problem: problem() })
        });
        Ok(Self { packages: packages.collect::<Result<_>>()? })
    }

    /// The packages that `apt-cache show` describes.
    pub(crate) fn shown(text: &str) -> Self {
        let packages = text.split("\n\n").filter_map(|stanza| {
            let field = |name: &str| {
                let mut values =
                    stanza.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                values.next().unwrap_or_default().trim()
            };
            let fields = ["Package", "Architecture", "Version", "SHA256"].map(field);
            package(&fields.join(" "))
        });
        Self { packages: packages.collect() }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// Preferences that make apt take exactly these, wherever it can get them (`apt_preferences(5)`).
    pub(crate) fn preferences(&self) -> String {
        let pin = |(name, package): (&Name, &Package)| {
            let (name, version) = (&name.package, &package.version);
            format!("Package: {name}\nPin: version {version}\nPin-Priority: {PIN_PRIORITY}\n\n")
        };
        self.packages.iter().map(pin).collect()
    }

    /// How others differ from these, for people; nothing if they are the same, or if this says nothing.
    pub fn differences(&self, found: &Self) -> Vec<String> {
        if self.is_empty() {
            return Vec::new();
        }
        let names: BTreeSet<&Name> = self.packages.keys().chain(found.packages.keys()).collect();
        let mut lines: Vec<String> =
            names.into_iter().filter_map(|name| difference(name, self.get(name), found.get(name))).collect();
        if let Some(more) = lines.len().checked_sub(DIFFERENCES_MAX).filter(|more| *more > 0) {
            lines.truncate(DIFFERENCES_MAX);
            lines.push(format!("and {more} more"));
        }
        lines
    }

    fn get(&self, name: &Name) -> Option<&Package> {
        self.packages.get(name)
    }
}

/// As its file has it, but for the heading.
impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.packages.iter().try_for_each(|(name, package)| {
            let Name { package: name, architecture } = name;
            writeln!(f, "{name} {architecture} {} {}", package.version, package.sha256)
        })
    }
}

/// The text of the file.
pub fn file(lock: &Lock) -> String {
    format!("{HEADING}{lock}")
}

fn difference(name: &Name, locked: Option<&Package>, found: Option<&Package>) -> Option<String> {
    let Name { package, architecture } = name;
    let what = match (locked, found) {
        (Some(locked), Some(found)) if locked == found => return None,
        (Some(locked), Some(found)) if locked.version == found.version => {
            format!("version {} is another file: {} and not {}", found.version, found.sha256, locked.sha256)
        }
        (Some(locked), Some(found)) => format!("{} and not {}", found.version, locked.version),
        (Some(locked), None) => format!("missing; it was to be {}", locked.version),
        (None, Some(found)) => format!("{}, and was not to be there", found.version),
        (None, None) => return None,
    };
    Some(format!("{package} ({architecture}): {what}"))
}

/// The package of a line. Every word of it ends up in apt's preferences.
fn package(line: &str) -> Option<(Name, Package)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [package, architecture, version, sha256] = words[..] else { return None };
    let is_plain = |word: &&str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.:~_".contains(&b))
    };
    let is_hash = sha256.len() == SHA256_DIGITS && sha256.bytes().all(|b| b.is_ascii_hexdigit());
    let name = Name { package: package.to_owned(), architecture: architecture.to_owned() };
    let package = Package { version: version.to_owned(), sha256: sha256.to_owned() };
    (is_hash && words[..3].iter().all(is_plain)).then_some((name, package))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, version: &str, digit: char) -> String {
        format!("{name} amd64 {version} {}\n", digit.to_string().repeat(SHA256_DIGITS))
    }

    fn lock(text: &str) -> Lock {
        Lock::parse("test.lock", text).unwrap()
    }

    #[test]
    fn a_lock_comes_back_as_it_was_written() {
        let locked = lock(&(line("b", "1:2.0~rc1+dfsg-3", 'b') + &line("a", "1", 'a')));
        assert_eq!(lock(&file(&locked)), locked);
        assert_eq!(locked.to_string(), line("a", "1", 'a') + &line("b", "1:2.0~rc1+dfsg-3", 'b'));
        assert!(lock("# nothing\n").is_empty());
    }

    #[test]
    fn a_line_that_is_no_package_is_named() {
        for wrong in
            ["a", "a amd64 1 abc", &line("a*", "1", 'a'), &line("a", "1\tx", 'a'), &line("a", "1", 'x')]
        {
            let refusal = Lock::parse("test.lock", &format!("#\n{wrong}")).unwrap_err().to_string();
            assert!(refusal.contains("test.lock") && refusal.contains("line 2"), "{refusal}");
        }
    }

    #[test]
    fn what_apt_shows_is_read() {
        let hash = "a".repeat(SHA256_DIGITS);
        let shown = format!(
            "Package: a\nArchitecture: amd64\nVersion: 1\nDescription: one\n Version: 9\nSHA256: {hash}\n\nPackage: odd\n\n"
        );
        assert_eq!(Lock::shown(&shown), lock(&line("a", "1", 'a')));
    }

    #[test]
    fn every_difference_is_told_up_to_a_number() {
        let locked = lock(
            &[line("a", "1", 'a'), line("b", "1", 'b'), line("c", "1", 'c'), line("d", "1", 'd')].concat(),
        );
        let found = lock(
            &[line("a", "1", 'a'), line("b", "2", 'b'), line("c", "1", 'e'), line("e", "1", 'e')].concat(),
        );
        let told = locked.differences(&found);
        assert_eq!((told[0].as_str(), told.len()), ("b (amd64): 2 and not 1", 4));
        assert!(told[1].starts_with("c (amd64): version 1 is another file: eee"), "{told:?}");
        assert_eq!(
            told[2..],
            ["d (amd64): missing; it was to be 1", "e (amd64): 1, and was not to be there"]
        );
        assert_eq!(locked.differences(&locked), [] as [&str; 0]);
        assert_eq!(Lock::default().differences(&found), [] as [&str; 0], "any will do");
        let many: String = (0..30).map(|number| line(&format!("p{number}"), "1", 'a')).collect();
        assert_eq!(lock(&many).differences(&Lock::default()).len(), DIFFERENCES_MAX + 1);
    }

    #[test]
    fn apt_is_made_to_take_these_versions() {
        let preferences = lock(&line("a", "1:2-3", 'a')).preferences();
        assert_eq!(preferences, "Package: a\nPin: version 1:2-3\nPin-Priority: 1001\n\n");
    }
}
