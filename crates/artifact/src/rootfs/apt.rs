//! Where packages come from: the mirrors apt on this machine already uses. We know no address ourselves.

use std::time::Duration;

use crate::program::Program;
use crate::recipe::Recipe;
use crate::{Error, Result};

/// Time for apt to read its own configuration.
const APT_BOUND: Duration = Duration::from_secs(60);
/// Marks our lines among whatever else apt says.
const MARK: &str = "target";

/// A suite, and where apt gets it from.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    suite: String,
    address: String,
}

/// The lines of a `sources.list` for this recipe: its suite, and those of its extra suites that apt knows.
///
/// # Errors
/// When apt knows no place to get the suite from, or only one with a password in its address.
pub(super) async fn sources_list(recipe: &Recipe) -> Result<Vec<String>> {
    let format = format!("{MARK} $(CODENAME) $(REPO_URI)");
    let mut said = Vec::new();
    Program::new("apt-get", "apt", APT_BOUND)?
        .args(["apt-get", "indextargets", "--format", &format, "Created-By: Packages"])
        .run(|line| said.extend(parse(line)))
        .await?;
    choose(recipe, &said)
}

fn parse(line: &str) -> Option<Source> {
    let mut words = line.strip_prefix(MARK)?.split_whitespace();
    let source = Source { suite: words.next()?.to_owned(), address: words.next()?.to_owned() };
    // `file:` and `cdrom:` cannot be reached from inside the image later.
    (source.address.starts_with("http://") || source.address.starts_with("https://")).then_some(source)
}

fn choose(recipe: &Recipe, sources: &[Source]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for suite in [&recipe.suite].into_iter().chain(&recipe.suites_extra) {
        let Some(source) = sources.iter().find(|source| source.suite == *suite) else {
            if *suite == recipe.suite {
                return Err(Error::NoMirror { suite: suite.clone() });
            }
            continue;
        };
        if source.address.contains('@') {
            return Err(Error::SecretMirror { suite: suite.clone() });
        }
        lines.push(format!("deb {} {suite} {}", source.address, recipe.components.join(" ")));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &[&str], expect: std::result::Result<&[&str], &str>) {
        let recipe = Recipe::named("system/debian:bookworm").unwrap();
        let sources: Vec<Source> = said.iter().filter_map(|line| parse(line)).collect();
        match (choose(&recipe, &sources), expect) {
            (Ok(lines), Ok(expected)) => assert_eq!(lines, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, expected) => panic!("{said:?} gave {got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn the_suite_is_needed_and_the_others_are_taken_where_there_are_some() {
        check(
            &[
                "W: something else",
                "target bookworm-backports http://mirror.test/debian/",
                "target bookworm-security http://mirror.test/security/",
                "target bookworm http://mirror.test/debian/",
                "target bookworm http://other.test/debian/",
            ],
            Ok(&[
                "deb http://mirror.test/debian/ bookworm main",
                "deb http://mirror.test/security/ bookworm-security main",
            ]),
        );
    }

    #[test]
    fn no_source_of_the_suite_says_what_to_do() {
        check(&["target trixie http://mirror.test/debian/"], Err("apt-get update"));
        check(&["target bookworm file:/media/cdrom/"], Err("apt-get update"));
        check(&[], Err("apt-get update"));
    }

    #[test]
    fn a_password_never_reaches_an_image() {
        check(&["target bookworm https://me:secret@mirror.test/debian/"], Err("password"));
    }
}
